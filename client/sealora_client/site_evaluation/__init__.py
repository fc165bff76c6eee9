"""A site's own exact evaluation of an adapter that it keeps, beside the base model's, for people of that site.

`records`      which records, and what a column of theirs says of each
`measured`     one model on all of them: losses, hits, answers, classes
`measures`     the figures of that, of all records or of a sample of them
`intervals`    how sure a figure is: records drawn anew
`own_adapter`  an adapter that the site trained for itself, to be measured too
`subgroups`    the figures for each value of a column
`evaluation`   what is written and read: `evaluation.json`
`evaluate`     all of it, of one kept run
`page`         the same for people

EXACT: nothing here carries noise or is charged. What the federation may see is `evaluation`'s.
"""
