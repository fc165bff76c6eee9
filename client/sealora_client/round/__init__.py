"""A site's part in a round, from the order to its vector and the receipt; how it trains is in `training`."""
