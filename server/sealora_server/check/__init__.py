"""The server's pre-flight: everything that a run will need of it, tried beforehand."""
