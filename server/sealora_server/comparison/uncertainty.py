"""How sure the difference of two arms is: by seeds, and by the held-out records that it was measured on.

Arms are compared in pairs, under the same seed and on the same records, so that what both share cancels. The two
sources are independent and add in quadrature, each at 95 %: of the seeds' differences Student's t for their mean, of
the records' the normal approximation for the mean over the sites of the sites' means. The second is of unweighted means
over records (persons): a loss that is a mean over tokens is taken for one over records there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from sealora_common.records.share_interval import NORMAL_QUANTILE
from sealora_server.comparison.outcome import ArmOutcome, SiteOutcome


@dataclass(frozen=True)
class Difference:
    """One arm's figure minus another's.

    Attributes:
        value: mean over the seeds.
        by_seeds: half of the 95 % interval that seeds leave; None with one seed.
        by_records: half of the one that records leave; None where a site holds out one alone, or a value is no number.
    """

    value: float
    by_seeds: float | None
    by_records: float | None

    @property
    def uncertainty(self) -> float | None:
        """Half of the 95 % interval, as far as it is known; None if nothing of it is."""
        known = [part for part in (self.by_seeds, self.by_records) if part is not None]
        return math.hypot(*known) if known else None

    @property
    def is_told_apart(self) -> bool:
        """Whether it is larger than its uncertainty."""
        return self.uncertainty is not None and abs(self.value) > self.uncertainty


def difference(one: Sequence[ArmOutcome], other: Sequence[ArmOutcome]) -> Difference:
    """Of two arms that were measured under the same seeds.

    Args:
        one: by seed, or one outcome for all of them.
        other: likewise, of the same sites and records.

    Raises:
        ValueError: an arm has diverged, or there are other seeds.
    """
    count = max(len(one), len(other))
    pairs = list(zip(_repeated(one, count), _repeated(other, count), strict=True))
    gaps = [_number(first.figure) - _number(second.figure) for first, second in pairs]
    return Difference(fmean(gaps), _by_seeds(gaps), _by_records(pairs))


def half_interval(deviation: float, count: int) -> float:
    """Half of the 95 % interval of a mean by Student's t.

    Args:
        deviation: standard deviation of what it is the mean of.
        count: how many these are, two or more.
    """
    from scipy.special import stdtrit  # late: of the site package, which computed them

    return float(stdtrit(count - 1, 0.975)) * deviation / math.sqrt(count)


def _by_seeds(gaps: Sequence[float]) -> float | None:
    return None if len(gaps) < 2 else half_interval(stdev(gaps), len(gaps))


def _by_records(pairs: Sequence[tuple[ArmOutcome, ArmOutcome]]) -> float | None:
    """From each record's difference, mean over the seeds."""
    of_sites = []
    for place in range(len(pairs[0][0].sites)):
        gaps = [_gaps(one.sites[place], other.sites[place]) for one, other in pairs]
        if None in gaps or len(gaps[0] or ()) < 2:
            return None
        by_record = [fmean(seeds) for seeds in zip(*filter(None, gaps), strict=True)]
        of_sites.append(variance(by_record) / len(by_record))
    return NORMAL_QUANTILE * math.sqrt(sum(of_sites)) / len(of_sites)


def _gaps(one: SiteOutcome, other: SiteOutcome) -> list[float] | None:
    """Record by record; None if one of them is no number."""
    gaps = [a - b for a, b in zip(one.by_unit, other.by_unit, strict=True) if a is not None and b is not None]
    return gaps if len(gaps) == len(one.by_unit) else None


def _repeated(outcomes: Sequence[ArmOutcome], count: int) -> Sequence[ArmOutcome]:
    return list(outcomes) * count if len(outcomes) == 1 else outcomes


def _number(figure: float | None) -> float:
    if figure is None:
        raise ValueError("an arm that has diverged has no difference to another")
    return figure
