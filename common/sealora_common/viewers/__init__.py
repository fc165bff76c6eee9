"""Who sees what of a run: the facts, by what its recipe says, and their picture for every report."""
