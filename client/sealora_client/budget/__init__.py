"""What runs cost and whether they fit, before anything is charged; what was charged is in `ledger`."""
