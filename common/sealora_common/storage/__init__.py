"""How files and directories are made, kept and told apart by version; what is in them is their owners' affair."""
