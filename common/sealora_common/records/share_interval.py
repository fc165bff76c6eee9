"""How well a share is known that was counted at several sites."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

NORMAL_QUANTILE: Final = 1.959963984540054
"""Of 0.975: the interval is of 95 %."""


def share_interval(shares: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """The 95 % score interval of a mean of shares that were each counted on so many units.

    Of one share, or of equal counts, it is Wilson's interval of all units together ("Probable inference", Journal of
    the American Statistical Association 22, 1927). Of unequal counts it is that of as many units as would leave the
    mean's variance what it is, 1 / (sum of w^2 / n) with w = 1 / sites. It is about other units of the same kind; noise
    that was added to a share is no part of it. Of a mean of values between 0 and 1 that are no counts it is wider than
    it need be: none of the same mean vary more than those that are 0 or 1.

    Args:
        shares: each site's, from 0 to 1.
        counts: what each was counted on, above 0.

    Returns:
        Its ends, from 0 to 1.

    Raises:
        ValueError: there is none, or a share or count is out of range.
    """
    if not shares or len(shares) != len(counts):
        raise ValueError("a share interval needs as many counts as shares, and at least one")
    if min(counts) < 1 or not all(0 <= share <= 1 for share in shares):
        raise ValueError("shares lie between 0 and 1, counts above 0")
    mean = sum(shares) / len(shares)
    units = len(shares) ** 2 / sum(1 / count for count in counts)
    squared = NORMAL_QUANTILE**2
    centre = (mean + squared / (2 * units)) / (1 + squared / units)
    reach = NORMAL_QUANTILE / (1 + squared / units) * math.sqrt(mean * (1 - mean) / units + squared / (4 * units**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def share_difference_interval(found: tuple[int, int], counts: tuple[int, int]) -> tuple[float, float]:
    """The 95 % interval of the first share minus the second, of independent units (Newcombe 1998, "Interval estimation
    for the difference between independent proportions", Statistics in Medicine 17, method 10: of Wilson's intervals).

    Args:
        found: units that are counted, of each.
        counts: units in all, of each, above 0.

    Returns:
        Its ends, from -1 to 1.

    Raises:
        ValueError: a number is out of range.
    """
    (one, other), (one_low, one_high), (other_low, other_high) = (
        [part / count for part, count in zip(found, counts, strict=True)],
        *(share_interval([part / count], [count]) for part, count in zip(found, counts, strict=True)),
    )
    return (
        one - other - math.hypot(one - one_low, other_high - other),
        one - other + math.hypot(one_high - one, other - other_low),
    )
