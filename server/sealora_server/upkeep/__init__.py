"""What becomes of a server's runs and of its directory over the years: what is kept, put away, backed up, put back."""
