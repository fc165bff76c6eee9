"""From guesses about canaries to a lower bound on epsilon: the one-run audit of Steinke, Nasr & Jagielski (2023).

"Privacy Auditing with One (1) Training Run", arXiv:2305.08846. Each of m canaries is in the training data or not by
a fair coin of its own. One training run is observed, and r coins are guessed; v guesses are right. If the training is
(epsilon, delta)-differentially private for adding or removing one canary, then (Thm 5.2 and Cor. 5.4), for W drawn
from the binomial distribution of r trials with probability e^epsilon / (1 + e^epsilon),

    P[at least v right] <= P[W >= v] + 2 m delta max over i of P[v - i <= W < v] / i.

An epsilon for which the right-hand side is small is refuted by the guesses. Nothing is assumed about the training or
about how the guesses were made, except that they were made without seeing the coins.

>>> round(epsilon_lower_bound(canaries=1000, guesses=100, correct=75, delta=1e-4, significance=0.05), 3)
0.673
"""

from __future__ import annotations

import numpy as np
from scipy.special import bdtrc, expit

_BISECTIONS = 40


def p_value(*, canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """How probable so many right guesses are, at most, under (epsilon, delta)-differential privacy.

    Args:
        canaries: m, coins thrown.
        guesses: r, coins guessed.
        correct: v, guesses that were right.
        epsilon: 0 or more.
        delta: 0 to 1.

    Returns:
        The bound of Thm 5.2, at most 1.

    Raises:
        ValueError: more guesses than canaries, more right ones than guesses, or a value out of range.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"expected correct <= guesses <= canaries, got {correct=} {guesses=} {canaries=}")
    if not (epsilon >= 0 and 0 <= delta <= 1):
        raise ValueError(f"expected epsilon of 0 or more and delta from 0 to 1, got {epsilon=} {delta=}")
    if correct == 0:
        return 1.0
    accuracy = float(expit(epsilon))  # of the best guess about one epsilon-private coin
    at_least = np.ones(correct + 1)  # P[W >= k] for k = 0 to v
    at_least[1:] = bdtrc(np.arange(correct), guesses, accuracy)
    leaked = (at_least[correct - 1 :: -1] - at_least[correct]) / np.arange(1, correct + 1)
    return float(min(1.0, at_least[correct] + 2 * canaries * delta * max(0.0, float(leaked.max()))))


def epsilon_lower_bound(*, canaries: int, guesses: int, correct: int, delta: float, significance: float) -> float:
    """The largest epsilon found that the guesses refute; 0 if they refute none.

    Privacy at epsilon is privacy at any larger one, so with probability 1 - `significance` or more no epsilon below
    the bound is true.

    Args:
        canaries: m, coins thrown.
        guesses: r, coins guessed.
        correct: v, guesses that were right.
        delta: of the claim, 0 to 1.
        significance: largest probability of a bound that is too high, above 0 and below 1.

    Raises:
        ValueError: as for `p_value`, or significance is not between 0 and 1.
    """
    if not 0 < significance < 1:
        raise ValueError(f"expected a significance between 0 and 1, got {significance=}")

    def refuted(epsilon: float) -> bool:
        p = p_value(canaries=canaries, guesses=guesses, correct=correct, epsilon=epsilon, delta=delta)
        return p <= significance

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high):
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if refuted(middle):
            low = middle
        else:
            high = middle
    return low
