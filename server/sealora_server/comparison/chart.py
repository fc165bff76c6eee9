"""Geometry of a comparison's one picture: a forest plot, drawn by the run report's template.

Each arm has a row: a dot for its mean over the seeds, a stroke for each seed, and a line from the least of them to the
largest, and over the 95 % interval where the figure is a share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.show.chart import Chart, Line, Mark, Scale
from sealora_server.comparison.arms import ArmKind
from sealora_server.comparison.comparison import ArmFigures, Comparison

STYLES: Final[Mapping[ArmKind, str]] = {
    "base": "site-7",
    "alone": "site-1",
    "no-privacy": "site-2",
    "federated": "federation",
    "pooled": "site-0",
}
"""CSS class of each kind of arm."""
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _BOTTOM = 720, 200, 696, 16, 30, 40
_LONGEST_NAME = 30
_TICK = 5


def forest_plot(comparison: Comparison) -> Chart | None:
    """The chart; None if no arm has a figure."""
    arms = [arm for arm in comparison.arms if arm.mean is not None]
    if not arms:
        return None
    ends = [end for arm in arms for end in _ends(arm)]
    ticks = _ticks(min(ends), max(ends))
    bottom = _TOP + _ROW * len(arms)

    def across(value: float) -> float:
        return _LEFT + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (_RIGHT - _LEFT)

    heights = [_TOP + _ROW * (place + 0.5) for place in range(len(arms))]
    heldout = comparison.heldout
    told = "; ".join(f"{arm.title} {heldout.text(arm.mean)}" for arm in arms)
    return Chart(
        identifier="arms",
        title=f"{heldout.title} of all sites' records, {heldout.better} is better",
        description=f"{heldout.title} in {heldout.unit}, mean over the seeds: {told}.",
        x_title=f"{heldout.name}, {heldout.unit}; {heldout.better} is better",
        x_ticks=tuple(Mark(across(tick), bottom + 16, _tick_text(heldout, tick)) for tick in ticks),
        y_ticks=tuple(Mark(_LEFT - 10, y, _short(arm.title)) for arm, y in zip(arms, heights, strict=True)),
        lines=tuple(_line(arm, comparison, y, across) for arm, y in zip(arms, heights, strict=True)),
        begins_at_zero=ticks[0] == 0,
        width=_WIDTH,
        height=bottom + _BOTTOM,
        left=_LEFT,
        right=_RIGHT,
        bottom=bottom,
    )


def _line(arm: ArmFigures, comparison: Comparison, y: float, across: Scale) -> Line:
    low, high = _ends(arm)
    path = f"M{across(low):.1f} {y:.1f}H{across(high):.1f}"
    for figure in arm.figures:
        if figure is not None:
            path += f"M{across(figure):.1f} {y - _TICK:.1f}V{y + _TICK:.1f}"
    text = f"{arm.title}: {comparison.heldout.text(arm.mean)}"
    if arm.spread is not None:
        text += f", standard deviation over seeds {arm.spread:.3g}"
    if arm.interval is not None:
        text += f", 95 % {comparison.heldout.range_text(*arm.interval)}"
    return Line(arm.title, STYLES[arm.kind], path, (Mark(across(arm.mean or 0.0), y, text),))


def _ends(arm: ArmFigures) -> tuple[float, float]:
    figures = [figure for figure in (*arm.figures, *(arm.interval or ())) if figure is not None]
    return min(figures), max(figures)


def _ticks(low: float, high: float) -> list[float]:
    """Six round numbers or so that enclose both."""
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(nice for nice in (1, 2, 5, 10) if nice * power >= span / 5 * 0.999) * power
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def _tick_text(heldout: HeldoutFigure, tick: float) -> str:
    return f"{tick:g}" if heldout.is_loss else f"{100 * tick:g} %"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
