"""The egress dossier as both sides write it: what people read and sign before a model leaves.

`figure`           a figure and the file it is read from
`clearance`        whether anything speaks against letting the model go
`evidence`         the run's files that figures come from, copied beside them
`site_part`        what one site says of its own data, in its own part
`sbom`             what was installed, as CycloneDX
`manifest`         every file of a part by its SHA-256, signed
`directory`        a signed directory: written, and read back
`verify_dossier`   a script that checks one where nothing of Sealora is installed

What the server's part says and how it looks is `sealora_server.dossier`, a site's part `sealora_client.dossier`.
"""
