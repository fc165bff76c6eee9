"""How records lie in a file: one file a layout (`DataFormat`: from an object to a record) or a kind of file (`Rows`).

A new layout is a file here and a line in `choice`, and so is a new kind of file; the two do not know each other. Whose
a record is, which part of the data it belongs to and what is refused of the file as a whole is `records`' for all of
them; what is put around a record's text for the model is a template's.
"""
