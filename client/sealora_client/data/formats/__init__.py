"""How a record lies in an object of a site's data: one file a layout (`DataFormat`, from an object to a record).

A new layout is a file here and a line in `choice`. Layouts and kinds of file (`files`) do not know each other: what
stands between them is a `Row`. Whose a record is, which part of the data it belongs to and what is refused of the data
as a whole is `records`' for all of them; what is put around a record's text for the model is a template's.
"""
