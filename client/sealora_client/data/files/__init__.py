"""Kinds of file: one file each, which gives a file's rows, one after the other, and tells each row that cannot be read.

A new kind is a file here and a line in `choice`. What makes a record of a row is a layout's (`formats`); that a site's
data may be several files, or none but a database, is `source`'s.
"""
