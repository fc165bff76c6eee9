"""A site over the years: its directory in one file, and back, without anything being spent twice."""
