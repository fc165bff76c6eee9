"""From the values of two models on the same records to figures with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_client.site_evaluation.evaluation import Estimate, EvaluatedFigure
from sealora_client.site_evaluation.intervals import percentile_interval, resampled
from sealora_client.site_evaluation.measures import Measure
from sealora_common.records.share_interval import share_interval


@dataclass(frozen=True)
class ModelPair:
    """What is compared.

    Attributes:
        adapter: the figures of the model with the adapter, of N records.
        base: of the base model, of the same records, by the same names in the same order.
        owners: int64 (N,): whose each record is.
    """

    adapter: Sequence[Measure]
    base: Sequence[Measure]
    owners: NDArray[np.int64]


def estimated(pair: ModelPair, places: NDArray[np.int64]) -> tuple[EvaluatedFigure, ...]:
    """Each figure over some of the records.

    Args:
        pair: of N records.
        places: int64 (n,): which of them, n above 0.
    """
    _, own = np.unique(pair.owners[places], return_inverse=True)
    count = len(pair.owners)
    whole = np.zeros(count)
    whole[places] = 1.0
    kinds = (pair.adapter, pair.base)
    drawn = np.full((2, len(pair.adapter), 0), np.nan)
    if own.max() > 0:
        samples = []
        weights = np.zeros(count)
        for sample in resampled(own):
            weights[places] = sample
            samples.append([[measure.of(weights) for measure in measures] for measures in kinds])
        drawn = np.moveaxis(np.array(samples), 0, -1)
    is_counted = len(np.unique(own)) == len(places)  # a record by itself each: as a share's interval takes them
    return tuple(
        _figure(of_adapter, of_base, whole, drawn[:, number], is_counted)
        for number, (of_adapter, of_base) in enumerate(zip(*kinds, strict=True))
    )


def _figure(
    adapter: Measure, base: Measure, whole: NDArray[np.float64], drawn: NDArray[np.float64], is_counted: bool
) -> EvaluatedFigure:
    is_wilson = adapter.is_share and is_counted
    of_adapter, of_base = adapter.of(whole), base.of(whole)
    with np.errstate(invalid="ignore"):  # infinite less infinite
        gaps = drawn[0] - drawn[1]
    records = int(whole.sum())
    return EvaluatedFigure(
        name=adapter.name,
        title=adapter.title,
        unit=adapter.unit,
        better=adapter.better,
        interval="wilson" if is_wilson else "bootstrap",
        adapter=_wilson(of_adapter, records) if is_wilson else _estimate(of_adapter, drawn[0]),
        base=_wilson(of_base, records) if is_wilson else _estimate(of_base, drawn[1]),
        difference=_estimate(of_adapter - of_base, gaps),
    )


def _wilson(share: float, records: int) -> Estimate:
    low, high = share_interval([share], [records])
    return Estimate(value=share, low=low, high=high)


def _estimate(value: float, drawn: NDArray[np.float64]) -> Estimate:
    if not math.isfinite(value):
        return Estimate(value=None)
    interval = percentile_interval(drawn)
    return Estimate(value=value) if interval is None else Estimate(value=value, low=interval[0], high=interval[1])
