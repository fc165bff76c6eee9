"""Files of a directory in one file: signed, checked without any other file, and put back.

A tar archive of plain files (POSIX.1-1988, "ustar"), uncompressed, whose last member is `manifest.json`: what the
archive is, each file's length and SHA-256, and the signature of whoever made it. An archive without its end has no
manifest, so one that was cut short is none. `tar tf` lists it.

`manifest`    what an archive says of itself
`locked`      files that are of use only with a passphrase
`write`       makes one, whole or not at all
`read`        reads one, whoever wrote it, and puts its files into a new directory
`passphrase`  asks a person for it
"""
