"""What a site is apart from any round: its directory, settings, policy and the rosters it has seen; no order."""
