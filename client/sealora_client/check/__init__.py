"""The pre-flight of a site: everything that a run will need, tried beforehand, each with what to do if it is not so.

finding.py     one line of the answer
agreement.py   the site's own files: configuration, keys, recipe, roster, policy
server.py      the server: reachable, certificate, TLS, clock, this site's key
machine.py     device, memory, disk
devices.py     those that site.yaml names, where they are several
workload.py    base model, records, and a small piece of a round's work, timed
budget.py      room in the privacy ledger
preflight.py   all of them in order
"""
