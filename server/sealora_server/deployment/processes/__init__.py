"""How any process is started, watched and started again, and given its sockets; what it does is its own affair."""
