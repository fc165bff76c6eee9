"""Planted data beside data that nobody trained on: shares and exposures with intervals, and whether more is found.

Every "more" is at 95 % by itself, two-sided: where there is nothing to find, one in forty of them says that there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, variance

from sealora_common.records.attacks.memorisation import SecretFound
from sealora_common.records.share_interval import NORMAL_QUANTILE, share_difference_interval, share_interval
from sealora_server.memorisation.findings import ExposureFound, ExtractionFound, ExtractionName, ShareFound

_EXTRACTED: dict[ExtractionName, Callable[[SecretFound], bool]] = {
    "told": lambda secret: secret.told,
    "continued": lambda secret: secret.continued,
    "ranked first": lambda secret: secret.rank == 1,
}


def share_of(found: Sequence[bool]) -> ShareFound:
    """Of one or more."""
    share = sum(found) / len(found)
    low, high = share_interval([share], [len(found)])
    return ShareFound(found=sum(found), of=len(found), share=share, low=low, high=high)


def extractions(planted: Sequence[SecretFound], held_back: Sequence[SecretFound]) -> tuple[ExtractionFound, ...]:
    """What each attack found of one or more secrets of either sort."""
    return tuple(_extraction(name, planted, held_back) for name in _EXTRACTED)


def _extraction(
    name: ExtractionName, planted: Sequence[SecretFound], held_back: Sequence[SecretFound]
) -> ExtractionFound:
    one, other = (share_of([_EXTRACTED[name](secret) for secret in sort]) for sort in (planted, held_back))
    low, high = share_difference_interval((one.found, other.found), (one.of, other.of))
    return ExtractionFound(
        attack=name,
        planted=one,
        held_back=other,
        more=one.share - other.share,
        more_low=low,
        more_high=high,
        is_more=low > 0,
    )


def exposure(planted: Sequence[SecretFound], held_back: Sequence[SecretFound], candidates: int) -> ExposureFound:
    """The mean exposures in bits (Carlini et al. 2019, arXiv:1802.08232, sec. 4.2), by rank among the candidates."""
    bits = [[math.log2((candidates + 1) / secret.rank) for secret in sort] for sort in (planted, held_back)]
    one, other = map(fmean, bits)
    error = math.sqrt(sum(variance(own) / len(own) for own in bits if len(own) > 1))
    reach = NORMAL_QUANTILE * error
    return ExposureFound(
        planted=one,
        held_back=other,
        more=one - other,
        more_low=one - other - reach,
        more_high=one - other + reach,
        is_more=one - other > reach,
    )
