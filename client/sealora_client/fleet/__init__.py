"""The site's side of Flower's Fleet protocol, in one process that runs only the code installed at the site.

A stock SuperNode fetches the server's bundle and starts it anew for every message. Here the bundle is never asked
for: messages go to the installed ClientApp, in this process, with the model warm from round to round.

flower.py         the Fleet calls, of Flower's internals, held to the pinned version by a contract test
transport.py      how these travel: HTTP, signed and bounded
hostile.py        what a server's messages are held to before Flower's code touches them
connection.py     one session with the server: what it can answer, in words
node_key.py       the P-384 key that opens a session
session_record.py what must outlast a crash: the session's node and the message in hand
polling.py        how often to ask when idle, how long to wait when the server is away
question.py       a question that is held, which a wish to stop cuts short
heartbeat.py      tells the server that this site is there, also while it trains
link.py           the state of the connection, told once a change
stop.py           the wish to stop, as a signal handler may express it
installed_app.py  the ClientApp, called in this process
loop.py           receive, answer, send; through restarts, cuts and refusals
"""
