"""A site's records, from JSON Lines on its disk to token ids for its model."""
