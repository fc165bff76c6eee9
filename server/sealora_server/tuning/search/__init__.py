"""Which fields of a recipe are searched, which values they may have, and which of these a trial takes."""
