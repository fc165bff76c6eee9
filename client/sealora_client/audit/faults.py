"""Sabotage of the training engine, one fault at a time, to see whether the audit catches it.

The engine has no switch that weakens it. A fault puts another function in the place of one of the engine's, in this
process and for the duration of a `with` block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from sealora_client.training import clipped_sum, distributed, dp_sgd
from sealora_client.training.gradients.per_example import ClippedRows, PerExampleGradients
from sealora_client.training.noise.rounded_gaussian import rounded_gaussian
from sealora_client.training.noise.skellam import skellam
from sealora_common.entropy import Entropy

Fault = Literal["noise off", "noise at a quarter", "clipping off", "sampling not Poisson"]
FAULTS: tuple[Fault, ...] = get_args(Fault)

_QUARTER = 0.25
_FAR = 1 << 10  # a clipping norm so many times as large clips nothing


@contextmanager
def applied(fault: Fault) -> Iterator[None]:
    """The engine with one fault in it; as it was afterwards."""
    replaced = [(owner, name, getattr(owner, name)) for owner, name, _ in _REPLACEMENTS[fault]]
    try:
        for owner, name, faulty in _REPLACEMENTS[fault]:
            setattr(owner, name, faulty)
        yield
    finally:
        for owner, name, sound in replaced:
            setattr(owner, name, sound)


_truncated_sum = PerExampleGradients.truncated_sum_


def _no_noise(entropy: Entropy, size: int, spread: float) -> NDArray[np.int64]:
    return np.zeros(size, dtype=np.int64)


def _quarter_gaussian(entropy: Entropy, size: int, std: float) -> NDArray[np.int64]:
    return rounded_gaussian(entropy, size, _QUARTER * std)


def _quarter_skellam(entropy: Entropy, size: int, variance: float) -> NDArray[np.int64]:
    return skellam(entropy, size, _QUARTER**2 * variance)


def _unclipped_sum(
    gradients: PerExampleGradients,
    accumulator: torch.Tensor,
    clip_norm: float,
    grid_steps: int,
    *,
    per_layer: bool = False,
) -> ClippedRows:
    """The rows at whatever length they have, on a grid that is coarser by as much as the clipping norm is larger."""
    coarse = torch.zeros_like(accumulator)
    outcome = _truncated_sum(gradients, coarse, _FAR * clip_norm, grid_steps, per_layer=per_layer)
    accumulator += _FAR * coarse
    return outcome


def _same_batch(entropy: Entropy, population: int, rate: float) -> NDArray[np.int64]:
    """The first units, as many as Poisson sampling draws on average, at every step."""
    return np.arange(round(rate * population), dtype=np.int64)


_REPLACEMENTS: dict[Fault, tuple[tuple[Any, str, Any], ...]] = {
    "noise off": (
        (dp_sgd, "rounded_gaussian", _no_noise),
        (distributed, "skellam", _no_noise),  # this site's share, and the others'
    ),
    "noise at a quarter": (
        (dp_sgd, "rounded_gaussian", _quarter_gaussian),
        (distributed, "skellam", _quarter_skellam),
    ),
    "clipping off": ((PerExampleGradients, "truncated_sum_", _unclipped_sum),),
    "sampling not Poisson": ((clipped_sum, "poisson_batch", _same_batch),),
}
