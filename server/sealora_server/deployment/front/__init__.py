"""What sites reach from outside: it ends TLS, passes the Fleet paths on, and keeps everything else away.

Two fronts hold to the same rules: `embedded`, a process of ours, and `nginx`.

    GET  /healthz                   whether the SuperLink answers
    POST /v1/fleet/...              each path of Flower's Fleet API: passed on, streamed both ways
    anything else                   403
    a body or head over the limit   413 or 400, and the connection ends
    over the rate or connections    503, which Flower's clients and ours take for "later"
"""
