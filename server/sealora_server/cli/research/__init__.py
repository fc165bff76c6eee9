"""The commands that ask what a recipe costs and teaches, and what would be better, before anybody takes part."""
