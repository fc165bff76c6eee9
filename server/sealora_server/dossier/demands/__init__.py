"""What laws, guidelines and templates ask of whoever lets a model leave, one document a file, in our words.

`demand` has the form; `answers` says how far one dossier goes, line by line. A number stands beside a demand only where
we are sure of it. None of this is legal advice, and no line says that a law is kept.
"""
