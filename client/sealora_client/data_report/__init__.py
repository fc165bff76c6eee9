"""A site's data before anybody trains: what is in it, what is odd about it, and how the model will see it.

chosen.py      which file and which recipe are meant, and their records
base_tokens.py the base model's tokenizer, without its weights
report.py      what a report holds
compile.py     a report of records, by the files beside it:
  sizes.py       records, units of privacy, lengths, labels
  tokens.py      what the tokenizer and the template make of the records
  likeness.py    near-duplicates, and those across the two parts
  wording.py     languages, damage, personal data
tables.py      a report as tables; terminal.py and page.py show them
preview.py     records token by token; token_lines.py shows them
notes.py       what is said beside the numbers

Everything is for the site's operator: none of it leaves the site, and no text of a record is in a report. How texts are
looked at is `data_quality`'s; what is mended is `data_cleaning`'s.
"""
