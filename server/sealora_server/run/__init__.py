"""A run, from the first greeting to the final adapter, and what is kept of it; who starts it does not matter here."""
