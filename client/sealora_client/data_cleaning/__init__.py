"""Copies of a site's data that are put right before anybody trains: cleaned, or split into two parts.

rows.py    a file's objects beside the records they make, whatever part they belong to
texts.py   the texts in an object, and what is done to them
clean.py   which objects are changed and which are left out, and why
split.py   which objects are held out
copies.py  writing a copy, and the list of what was done

A copy never replaces what it was made of. The ledger knows a record by its text, so a record that is changed is another
one to it: whoever cleans, cleans before the first run. What is odd about data is told by `data_report`, and how texts
are looked at is `data_quality`'s.
"""
