"""What server and sites agree on about one round: its order, its vector and its sum; sealing itself is in `secagg`."""
