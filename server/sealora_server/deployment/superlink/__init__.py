"""The SuperLink: Flower's, in a process of ours, and what stands between it and the sites.

process.py        the process: Flower's application and state, on two Unix sockets
gate.py           which socket serves what
fleet.py          the Fleet API: a request from its headers to its answer
node_auth.py      who asks
quotas.py         what a node may have
bodies.py         a body, whole, within a size and a time
questions.py      nodes' questions for messages, held and answered
replies.py        nodes' answers, bound and counted
trees.py          what an answer is made of, everywhere the same
known_runs.py     which runs there are
app_messages.py   how a ServerApp sends and fetches messages, many at once
answers.py        responses
paths.py          the Fleet API's paths
client.py         what the supervisor and ServerApps ask of the process
"""
