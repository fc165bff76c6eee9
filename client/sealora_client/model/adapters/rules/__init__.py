"""The rules by which one tensor's gradient is told apart by example, one file a sort of tensor.

A rule knows the module that uses its tensor and nothing of training; which tensors a kind of adapter has, and what they
are called, is the kind's `Attachment`, one level up.
"""
