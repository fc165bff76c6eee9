"""The egress dossier: one signed directory for those who answer for letting a model leave.

`run_evidence`  a run's files, copied, and what its receipts and its adapter prove
`sections`      what ran, on whose data, by what method, under what promise; `limits` what nothing here covers
`judgement`     what speaks against release, and what is open
`demands`       laws, guidelines and templates, line by line, and how far a dossier goes
`memorisation`  a test of the recipe with planted records, if one was handed in
`site_parts`    the parts that sites wrote and signed, checked
`model_card`    the card that travels with the adapter, in Hugging Face's format
`page`          all of it as one HTML page
`write`         all of it as a directory, signed by the server

The server's part holds no site's own figure: those are in the sites' parts (`sealora_client.dossier`).
"""
