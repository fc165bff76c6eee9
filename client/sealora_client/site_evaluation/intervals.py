"""How sure a figure is of which so many records tell: the records are drawn anew, with replacement, and it with them.

The bootstrap's percentile interval at 95 % (Efron, Tibshirani, "An introduction to the bootstrap", 1993), by a fixed
seed, so that the same records give the same interval. Where the unit is a person, all records of a person are drawn
together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SEED = 0
RESAMPLES = 1000

Floats = NDArray[np.float64]


def resampled(owners: NDArray[np.int64]) -> Iterator[Floats]:
    """How often each record counts in each of `RESAMPLES` samples of units.

    Args:
        owners: int64 (N,): whose each record is, by numbers from 0 on without a gap.

    Yields:
        float64 (N,).
    """
    units = int(owners.max()) + 1
    generator = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        drawn = np.bincount(generator.integers(0, units, units), minlength=units)
        yield drawn[owners].astype(np.float64)


def percentile_interval(values: Floats) -> tuple[float, float] | None:
    """Of what samples gave; None where fewer than half of them gave a number, or there are none.

    Args:
        values: (samples,), nan where one has no such figure.
    """
    known = values[np.isfinite(values)]
    if len(known) == 0 or len(known) < len(values) / 2:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
