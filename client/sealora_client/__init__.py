"""A site of a federation: its data, model, private training, ledger and its part in the sealing."""
