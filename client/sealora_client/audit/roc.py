"""Receiver operating characteristic of a score that tells members from non-members, with its uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

from sealora_common.records.audits import FALSE_POSITIVE_RATE, RocSummary

Interval = tuple[float, float]


@dataclass(frozen=True)
class Roc:
    """How well a score tells members from non-members.

    Attributes:
        false_positive_rate: float64, shape (k,), ascending from 0 to 1.
        true_positive_rate: float64, shape (k,), at the same thresholds.
        members: number of members.
        non_members: number of non-members.
        auc: area under the curve; 1/2 is chance.
        auc_interval: 95 % confidence, DeLong et al. 1988 (Biometrics 44); inexact where the area is near 0 or 1.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    members: int
    non_members: int
    auc: float
    auc_interval: Interval

    @classmethod
    def of(cls, members: NDArray[np.float64], non_members: NDArray[np.float64]) -> Roc:
        """The curve of a score: higher is taken for a member.

        Args:
            members: float64, shape (n,), two or more scores.
            non_members: float64, shape (l,), two or more scores.

        Raises:
            ValueError: there are fewer than two of either.
        """
        if len(members) < 2 or len(non_members) < 2:
            raise ValueError(f"expected two scores or more of each, got {len(members)} and {len(non_members)}")
        thresholds = np.unique(np.concatenate([members, non_members]))[::-1]
        true = np.concatenate([[0.0], _share_from(thresholds, members)])
        false = np.concatenate([[0.0], _share_from(thresholds, non_members)])
        # Of a member, the share of non-members below it, ties counting half; the area is their mean.
        over = (_share_below(members, non_members) + _share_up_to(members, non_members)) / 2
        under = (_share_below(non_members, members) + _share_up_to(non_members, members)) / 2
        auc = float(over.mean())
        error = math.sqrt(over.var(ddof=1) / len(over) + under.var(ddof=1) / len(under))
        reach = float(ndtri(0.975)) * error
        return cls(false, true, len(members), len(non_members), auc, (max(0.0, auc - reach), min(1.0, auc + reach)))

    def true_positives_at(self, false_positive_rate: float) -> tuple[float, Interval] | None:
        """The largest true positive rate at no more than this false positive rate (Carlini et al. 2022,
        arXiv:2112.03570, sec. IV), without interpolation.

        Returns:
            The rate, and its 95 % confidence interval (Clopper & Pearson 1934) over the members, the threshold given.
            None if there are too few non-members to tell this false positive rate from none.
        """
        if self.non_members * false_positive_rate < 1:
            return None
        allowed = self.false_positive_rate <= false_positive_rate
        rate = float(self.true_positive_rate[allowed].max())
        return rate, binomial_interval(round(rate * self.members), self.members)

    def summary(self) -> RocSummary:
        """What of it is told."""
        rate, interval = self.true_positives_at(FALSE_POSITIVE_RATE) or (None, None)
        return RocSummary(
            auc=self.auc,
            auc_interval=self.auc_interval,
            true_positive_rate=rate,
            true_positive_interval=interval,
            members=self.members,
            non_members=self.non_members,
            curve=tuple(zip(self.false_positive_rate.tolist(), self.true_positive_rate.tolist(), strict=True)),
        )


def binomial_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """The two-sided confidence interval of a probability (Clopper & Pearson 1934, Biometrika 26).

    >>> tuple(round(end, 4) for end in binomial_interval(0, 10))
    (0.0, 0.3085)
    """
    tail = (1 - confidence) / 2
    low = float(betaincinv(successes, trials - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, trials - successes, 1 - tail)) if successes < trials else 1.0
    return low, high


def _share_from(points: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each point, the share of `values` at or above it."""
    return np.asarray((len(values) - np.searchsorted(np.sort(values), points, side="left")) / len(values))


def _share_below(points: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each point, the share of `values` below it."""
    return np.asarray(np.searchsorted(np.sort(values), points, side="left") / len(values))


def _share_up_to(points: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each point, the share of `values` not above it."""
    return np.asarray(np.searchsorted(np.sort(values), points, side="right") / len(values))
