"""The operator's dashboard: runs and their server, read from their directories, on pages that live.

    watched      the runs of a server or of directories, each read once and then as it grows
    facts        typed values of one run and of the server: all that a page shows
    notices      what is to be looked at, in plain words, and what to do about it
    app          the pages and the paths under which they are; what may be DONE is composed here too
    serving      the process, by `sealora dashboard` or as one of a server's own

Everything of a run is folded from its events, so that a page says the same after a restart, of a finished run and of a
simulation. Nothing is read from a simulated site's own files: what a server is not told, its dashboard does not show.
"""
