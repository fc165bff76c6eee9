"""A site's records, from a file on its disk to token ids for its model; how files are laid out is `formats`'."""
