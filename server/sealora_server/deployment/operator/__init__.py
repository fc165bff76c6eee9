"""What an operator asks of a running server, and what is done about it; how a run or a process works is elsewhere."""
