"""How a site stands, at one glance: for its operator, whether or not it runs, and disturbing nothing.

`standing`      what is known of it: from its files, and from its process if there is one
`leaving_cost`  what leaving costs, said before it is done
`probes`        what its process tells of itself

What is wrong before a run is `check`'s, what was spent in full `budget`'s.
"""
