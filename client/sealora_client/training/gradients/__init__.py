"""Per-example gradients of the adapter's matrices, and whether examples keep apart; clipping sums are one level up."""
