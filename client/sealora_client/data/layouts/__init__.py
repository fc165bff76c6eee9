"""How one object of a file makes a record: one file a layout, behind `choice`.

Here belongs which fields are read and what is refused of them, with their place. Of which kind a file is, and how its
objects are found in it, is `formats`' business; what the model is shown of a record that of `templates`.
"""
