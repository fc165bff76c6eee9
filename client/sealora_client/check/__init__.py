"""The pre-flight of a site: everything that a run will need, tried beforehand, each with what to do if it is not so.

finding.py     one line of the answer
agreement.py   the site's own files: configuration, keys, recipe, roster, policy
server.py      the server: reachable, certificate, TLS, clock, this site's key
machine.py     device, memory, disk
devices.py     those that site.yaml names, where they are several
workload.py    base model and records
noise.py       whether noise drowns as many records as the site has
dry_run.py     a small piece of a round's work, done and timed
site_times.py  the same piece of work for the sites of a simulation, for `sealora plan`
budget.py      room in the privacy ledger
preflight.py   all of them in order
"""
