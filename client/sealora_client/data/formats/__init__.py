"""How objects lie in a file: one file a kind of file (`Rows`), behind `choice`.

What of an object makes a record is a layout's (`layouts`), and the two do not know each other. Whose a record is, which
part of the data it belongs to and what is refused of the file as a whole is `records`' for all of them.
"""
