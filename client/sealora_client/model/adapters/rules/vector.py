"""What vectors have in common: a sum over an example's positions."""

from __future__ import annotations

import torch
from torch import Tensor


def summed_over_positions(values: Tensor, out: Tensor | None = None) -> Tensor:
    """Float32 (examples, 1, features) of values (examples, positions, features), each example by itself.

    Args:
        values: of any floating type.
        out: where to put the result, float32; None for a new tensor.
    """
    return torch.sum(values.float(), dim=1, keepdim=True, out=out)
