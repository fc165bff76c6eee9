"""Whether a model is right as often as it is sure: of the answer, or the class, that it finds likeliest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 10
"""Of equal width from 0 to 1, each with its upper end."""

Floats = NDArray[np.float64]


def calibration_error(probability: Floats, right: Floats, weights: Floats) -> float:
    """The expected calibration error (Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using
    Bayesian binning", AAAI 2015): over bins of probability, how far the mean probability is from the share that is
    right, each bin by how many are in it. With few records it is too large rather than too small.

    Args:
        probability: (N,), from 0 to 1.
        right: (N,), 1 or 0.
        weights: (N,), how often each counts; nan comes of none.

    >>> calibration_error(np.array([0.9, 0.9, 0.2]), np.array([1.0, 0.0, 0.0]), np.ones(3))
    0.3333333333333333
    """
    bins = np.clip(np.ceil(probability * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights * (probability - right), BINS)
    return _over(float(np.abs(gaps).sum()), weights)


def brier_score(probability: Floats, right: Floats, weights: Floats) -> float:
    """The mean squared distance of the probability from what came of it (Brier 1950); arguments as above."""
    return _over(float((weights * (probability - right) ** 2).sum()), weights)


def _over(total: float, weights: Floats) -> float:
    count = float(weights.sum())
    return total / count if count else float("nan")
