"""A server that sites reach over the network: its directory, the processes it supervises, and its operator's socket.

    sites ---TLS---> front ---fleet.sock---> SuperLink <---superlink.sock--- ServerApp, one process a run
                                                 ^                               |
    operator ---operator.sock---> supervisor ----+------ starts, watches --------+

Flower's SuperLink listens on two Unix sockets and on no port. `fleet.sock` serves the paths that sites need and
nothing else; `superlink.sock`, which is open to this account alone, serves the rest.
"""
