"""Which coins are guessed from the canaries' scores, and what right guesses prove together.

The canaries with the highest scores are guessed in, those with the lowest out, and the rest are not guessed: few sure
guesses prove more than many doubtful ones. How many is fixed before the scores are seen, in a few ways, of which the
best counts. Trying several ways is paid for by testing each at its share of the significance (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_client.audit.bounds import epsilon_lower_bound

_SHARES = (16, 8, 4)  # one in so many canaries is guessed in


@dataclass(frozen=True)
class Guesses:
    """The guesses that prove most.

    Attributes:
        lower_bound: epsilon is at least this, at the confidence asked for; 0 proves nothing.
        guessed_in: canaries guessed in.
        guessed_out: canaries guessed out.
        correct: how many of both were right.
    """

    lower_bound: float
    guessed_in: int
    guessed_out: int
    correct: int


def guess_plans(canaries: int) -> tuple[tuple[int, int], ...]:
    """The (guessed in, guessed out) that are tried with so many canaries, from their number alone.

    A canary that is in but was never sampled looks like one that is out, so half of the plans guess no canary out.

    >>> guess_plans(400)
    ((25, 0), (25, 25), (50, 0), (50, 50), (100, 0), (100, 100))
    """
    sizes = sorted({max(1, canaries // share) for share in _SHARES})
    return tuple((size, out) for size in sizes for out in (0, size))


def best_guesses(
    scores: NDArray[np.float64], included: NDArray[np.bool_], *, delta: float, significance: float
) -> Guesses:
    """Guesses by `scores`, and the largest lower bound on epsilon that holds for all plans together.

    Args:
        scores: float64, shape (m,), higher for what looks trained on; made without the coins.
        included: bool, shape (m,), the coins.
        delta: of the claim.
        significance: largest probability of a bound that is too high.

    Raises:
        ValueError: the shapes differ, or there are fewer than two canaries.
    """
    if scores.shape != included.shape or len(scores) < 2:
        raise ValueError(f"expected two or more scores and as many coins, got {scores.shape} and {included.shape}")
    ranked = included[np.argsort(-scores, kind="stable")]

    def right(guessed_in: int, guessed_out: int) -> int:
        return int(ranked[:guessed_in].sum()) + int((~ranked[len(ranked) - guessed_out :]).sum())

    return _best(len(scores), right, delta=delta, significance=significance)


def perfect_guesses(canaries: int, *, delta: float, significance: float) -> Guesses:
    """What `best_guesses` would make of scores that tell every coin: the most that so many canaries can prove."""
    return _best(
        canaries, lambda guessed_in, guessed_out: guessed_in + guessed_out, delta=delta, significance=significance
    )


def _best(canaries: int, right: Callable[[int, int], int], *, delta: float, significance: float) -> Guesses:
    """The plan that proves most; `right` tells how many of so many guesses of each kind are right."""
    plans = guess_plans(canaries)
    found = []
    for guessed_in, guessed_out in plans:
        correct = right(guessed_in, guessed_out)
        bound = epsilon_lower_bound(
            canaries=canaries,
            guesses=guessed_in + guessed_out,
            correct=correct,
            delta=delta,
            significance=significance / len(plans),
        )
        found.append(Guesses(bound, guessed_in, guessed_out, correct))
    return max(found, key=lambda guesses: guesses.lower_bound)
