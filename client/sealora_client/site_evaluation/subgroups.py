"""Whether a model serves some worse than others: the figures for each value of a column of the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sealora_client.site_evaluation.estimates import ModelPair, estimated
from sealora_client.site_evaluation.evaluation import (
    FEW,
    FEW_TOGETHER,
    EvaluatedFigure,
    GroupResult,
    GroupsOfColumn,
    GroupSpread,
)


def by_column(pair: ModelPair, column: str, values: Sequence[str]) -> GroupsOfColumn:
    """The groups, the largest first, those of fewer than `FEW` records put together behind them.

    Args:
        pair: of N records.
        column: its name.
        values: of each record, N.
    """
    counted = Counter(values)
    shown = [value for value, count in counted.most_common() if count >= FEW]
    groups = [_group(pair, value, [place for place, own in enumerate(values) if own == value]) for value in shown]
    rest = [place for place, own in enumerate(values) if counted[own] < FEW]
    if rest:
        groups.append(_group(pair, FEW_TOGETHER, rest))
    return GroupsOfColumn(column=column, groups=tuple(groups), spreads=tuple(_spreads(groups)))


def _group(pair: ModelPair, value: str, places: Sequence[int]) -> GroupResult:
    figures = estimated(pair, np.asarray(places, dtype=np.int64)) if len(places) >= FEW else ()
    return GroupResult(value=value, records=len(places), figures=figures)


def _spreads(groups: Sequence[GroupResult]) -> list[GroupSpread]:
    """Of each figure that two groups have."""
    named: dict[str, list[tuple[float, str, EvaluatedFigure]]] = {}
    for group in groups:
        for figure in group.figures:
            if figure.adapter.value is not None:
                named.setdefault(figure.name, []).append((figure.adapter.value, group.value, figure))
    return [_spread(found) for found in named.values() if len(found) > 1]


def _spread(found: Sequence[tuple[float, str, EvaluatedFigure]]) -> GroupSpread:
    # Of equal groups the first and the last, so that two are named.
    least, most = min(reversed(found), key=lambda one: one[0]), max(found, key=lambda one: one[0])
    low, high = most[2].adapter.low, least[2].adapter.high
    return GroupSpread(
        name=most[2].name,
        title=most[2].title,
        largest=most[1],
        smallest=least[1],
        difference=most[0] - least[0],
        within_intervals=low is None or high is None or low <= high,
    )
