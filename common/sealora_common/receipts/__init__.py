"""What is left of a round for anybody to check: receipts, their chain, its file; what a round sums is in `round`."""
