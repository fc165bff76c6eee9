"""What can be told of records' texts without a model: likeness, language, damage, personal data by pattern.

Each file asks one library, which may be missing: `MissingLibraryError` then says what to install, and whoever asks does
without that column. None of them goes to a network. What is made of the findings, a report or a cleaned copy, is
`data_report`'s and `data_cleaning`'s.
"""
