"""Data for trying Sealora out, made from what packages carry: never a site's own.

choice.py  the tasks by name; each has one file here, and a recipe under configs
icd10.py   the classification that most of them are made from
files.py   how their files are written
"""
