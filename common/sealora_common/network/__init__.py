"""What both sides need to speak over a network within bounds; what they say is in `round` and `secagg`."""
