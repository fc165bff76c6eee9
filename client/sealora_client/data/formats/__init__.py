"""How objects lie in a file: one file a kind of file (`FileKind`), behind `choice`.

A kind gives a file's rows, one after the other, and tells each that cannot be read. What of a row makes a record is a
layout's (`layouts`), and the two do not know each other: what stands between them is a `Row`. That a site's data may be
several files, or none but a database, is `source`'s.
"""
