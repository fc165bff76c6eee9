"""Values of held-out examples, by unit of privacy: the way of all metrics that look at one example at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import micro_batches

Rows = Callable[[Sequence[Example]], tuple[torch.Tensor, torch.Tensor]]
"""Computes one micro-batch, filled up with dummies to its fixed number of rows.

Returns each row's sum, float (rows,), and how many terms it has, int64 (rows,); an example's depend on no other.
"""


@dataclass(frozen=True)
class ValuesByUnit:
    """LOCAL: nothing of it is noisy.

    Attributes:
        total: of all sums.
        terms: of all sums together.
        by_unit: float64, shape (N,): each unit's mean over its examples of sum over terms, 0 for no term.
    """

    total: float
    terms: int
    by_unit: NDArray[np.float64]


def values_by_unit(model: AdaptedModel, population: Population, micro_batch_size: int, rows: Rows) -> ValuesByUnit:
    """Computes all examples with the adapter that is in `model` now, without dropout and without gradients.

    Micro-batches have the fixed shapes of training, so that a unit's value is the same to the last bit whatever the
    other units are.

    Args:
        model: left in the mode it was in.
        population: any number of held-out units.
        micro_batch_size: examples in memory at once.
        rows: the value of each example.
    """
    owners = [owner for owner, unit in enumerate(population.units) for _ in unit]
    examples = [example for unit in population.units for example in unit]
    total, terms = 0.0, 0
    by_unit = np.zeros(len(population))
    was_training = model.model.training
    model.model.eval()
    try:
        with torch.no_grad():
            for places in micro_batches(examples, micro_batch_size):
                own = [examples[place] for place in places]
                sums, counts = (part[: len(own)].cpu() for part in rows(own))
                total += float(sums.double().sum())
                terms += int(counts.sum())
                means = (sums.double() / counts.clamp(min=1)).numpy()
                for place, mean in zip(places, means, strict=True):  # a unit's sum is in the order of its own examples
                    by_unit[owners[place]] += mean / len(population.units[owners[place]])
    finally:
        model.model.train(was_training)
    return ValuesByUnit(total, terms, by_unit)
