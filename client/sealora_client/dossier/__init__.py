"""A site's part of a dossier: what it says, exactly, of its own data, its ledger and its receipts of one run.

`run_at_site`     one run as the site's directory knows it
`ledger_extract`  what the ledger charged for it and beside it, without who is in the data
`base_licence`    what the base model's own files say of its licence
`evaluated`       what `sealora-site evaluate` found, if it was run
`sections`        the part's subjects, each from its file
`part`            all of it, signed by the site

EXACT: nothing here carries noise. The server's part of a dossier is `sealora_server.dossier`, and never sees this.
"""
