"""What is put around a record's text so that the model reads it as it was taught: one file a template.

A new template is a file here and a line in `choice`. The model's own chat templates are programs, and run in a process
apart (`rendering`, `worker`). How long an example may be, and what becomes of a record that cannot be shown, is
`examples`' for all of them; which tokens a loss is taken on beyond given and learned is the objective's.
"""
