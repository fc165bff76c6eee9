"""Per-example gradients of the adapter's tensors, and whether examples keep apart; clipping sums are one level up.

The rule by which one tensor's gradient is computed for each example is its kind's, in `model.adapters`.
"""
