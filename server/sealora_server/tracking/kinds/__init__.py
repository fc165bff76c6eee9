"""The trackers there are, one file each, with the line in `choice` that names it. Their libraries are loaded here."""
