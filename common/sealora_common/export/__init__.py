"""A run's adapter in the forms that others use: one file an `Exporter`; and the mark of one that nobody else may have.

A new form is a file here and a line in `choice`. What a run keeps for itself, and when, is `run.store`'s; forms that
need the base model, and so torch, are no server's.
"""
