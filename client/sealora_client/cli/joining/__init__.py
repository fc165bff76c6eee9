"""The commands by which a site comes to take part: `init`, `join`, and `model pin` for the recipe before it."""
