"""Where a site's rows come from: a file, several that a description names, a database; and all that is wrong with them.

`source_rows` gives them all, one after the other, whatever they come from. What a kind of file looks like is
`formats`'s, what makes a record of a row `layouts`'s.
"""
