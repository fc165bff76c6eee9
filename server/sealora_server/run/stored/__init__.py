"""What a run's directory holds besides adapters and events: its records, and its receipts as its rounds need them."""
