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
        beside: the figures of the model with the site's own adapter, likewise; empty where there is none.
    """

    adapter: Sequence[Measure]
    base: Sequence[Measure]
    owners: NDArray[np.int64]
    beside: Sequence[Measure] = ()


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
    kinds = (pair.adapter, pair.base, *([pair.beside] if pair.beside else []))
    drawn = np.full((len(kinds), len(pair.adapter), 0), np.nan)
    if own.max() > 0:
        samples = []
        weights = np.zeros(count)
        for sample in resampled(own):
            weights[places] = sample
            samples.append([[measure.of(weights) for measure in measures] for measures in kinds])
        drawn = np.moveaxis(np.array(samples), 0, -1)
    is_counted = len(np.unique(own)) == len(places)  # a record by itself each: as a share's interval takes them
    return tuple(
        _figure(each, whole, drawn[:, number], is_counted) for number, each in enumerate(zip(*kinds, strict=True))
    )


def _figure(
    models: Sequence[Measure], whole: NDArray[np.float64], drawn: NDArray[np.float64], is_counted: bool
) -> EvaluatedFigure:
    """One figure of the adapter, the base model and, where it is given, the site's own adapter, in this order."""
    adapter = models[0]
    is_wilson, records = adapter.is_share and is_counted, int(whole.sum())
    values = [measure.of(whole) for measure in models]
    each = [
        _wilson(value, records) if is_wilson else _estimate(value, samples)
        for value, samples in zip(values, drawn, strict=True)
    ]
    with np.errstate(invalid="ignore"):  # infinite less infinite
        gaps = [
            _estimate(values[0] - value, drawn[0] - samples)
            for value, samples in zip(values[1:], drawn[1:], strict=True)
        ]
    return EvaluatedFigure(
        name=adapter.name,
        title=adapter.title,
        unit=adapter.unit,
        better=adapter.better,
        interval="wilson" if is_wilson else "bootstrap",
        adapter=each[0],
        base=each[1],
        difference=gaps[0],
        beside=each[2] if len(each) > 2 else None,
        over_beside=gaps[1] if len(gaps) > 1 else None,
    )


def _wilson(share: float, records: int) -> Estimate:
    low, high = share_interval([share], [records])
    return Estimate(value=share, low=low, high=high)


def _estimate(value: float, drawn: NDArray[np.float64]) -> Estimate:
    if not math.isfinite(value):
        return Estimate(value=None)
    interval = percentile_interval(drawn)
    return Estimate(value=value) if interval is None else Estimate(value=value, low=interval[0], high=interval[1])
