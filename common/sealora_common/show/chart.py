"""Geometry of the report's charts: data in, coordinates out. The template only writes them down as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from sealora_common.records.site_rounds import Curve
from sealora_common.show.quantities import count_text

WIDTH, HEIGHT = 460, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 18, 40
_MOST_DOTS = 13
_DENSE = 6.0

Label = Callable[[float], str]
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve; `style` is the CSS class it is drawn with."""

    name: str
    points: Curve
    style: str
    deviations: Curve = ()
    """The standard deviation of the noise on some of the points, by the same rounds; drawn as a band around them."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the picture and what is said there."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A drawn series."""

    name: str
    style: str
    path: str
    """The `d` of an SVG path."""
    dots: tuple[Mark, ...]
    band: str = ""
    """The `d` of what its noise covers; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A drawn amount."""

    x: float
    y: float
    width: float
    height: float
    style: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything the template needs to write one chart."""

    identifier: str
    title: str
    description: str
    """What the picture shows, in words, for those who do not see it."""
    x_title: str
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    notes: tuple[Mark, ...] = ()
    """Words inside the picture."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    bottom: int = HEIGHT - _BOTTOM


def line_chart(
    *,
    identifier: str,
    title: str,
    description: str,
    series: Sequence[Series],
    rounds: int,
    label: Label,
    bound: float | None = None,
    bound_name: str = "",
    from_zero: bool = False,
) -> Chart:
    """Curves over the rounds trained, 0 to `rounds`.

    Args:
        identifier: prefix of the ids inside the SVG.
        title: what the chart is called.
        description: what it shows, in words.
        series: the curves, drawn in this order, so the last lies on top.
        rounds: where the horizontal axis ends.
        label: writes a value.
        bound: a horizontal line, such as a budget.
        bound_name: what is written at it.
        from_zero: whether the vertical axis begins at 0.
    """
    values = [value for one in series for _, value in (*one.points, *_low(one), *_high(one))]
    values += [bound] if bound is not None else []
    y_values = ticks_around(0.0 if from_zero else min(values, default=0.0), max(values, default=1.0), 6)
    across = scale(0, max(rounds, 1), _LEFT, WIDTH - _RIGHT)
    up = scale(y_values[0], y_values[-1], HEIGHT - _BOTTOM, _TOP)
    lines = [_line(one, across, up, label) for one in series if one.points]
    notes: tuple[Mark, ...] = ()
    if bound is not None:
        path = f"M{_LEFT} {up(bound):.1f}H{WIDTH - _RIGHT}"
        lines.insert(0, Line(bound_name, "bound", path, ()))
        notes = (Mark(_LEFT + 6, up(bound) - 6, bound_name),)
    return Chart(
        identifier=identifier,
        title=title,
        description=description,
        x_title="rounds trained",
        x_ticks=tuple(Mark(across(tick), HEIGHT - _BOTTOM + 16, str(tick)) for tick in _round_ticks(rounds)),
        y_ticks=tuple(Mark(_LEFT - 8, up(tick), _tick_text(tick, y_values)) for tick in y_values),
        lines=tuple(lines),
        notes=notes,
    )


def bar_chart(
    *,
    identifier: str,
    title: str,
    description: str,
    groups: Sequence[tuple[str, Sequence[float]]],
    styles: Sequence[tuple[str, Literal["up", "down"]]],
    label: Label,
) -> Chart:
    """Bars side by side, one group a round.

    Args:
        identifier: prefix of the ids inside the SVG.
        title: what the chart is called.
        description: what it shows, in words.
        groups: the group's name on the axis and one amount for each of `styles`.
        styles: what each bar of a group means and its CSS class.
        label: writes an amount.
    """
    highest = max((amount for _, amounts in groups for amount in amounts), default=1.0)
    y_values = ticks_around(0.0, highest or 1.0, 4)
    up = scale(y_values[0], y_values[-1], HEIGHT - _BOTTOM, _TOP)
    slot = (WIDTH - _RIGHT - _LEFT) / max(1, len(groups))
    thickness = min(26.0, slot * (0.7 if slot > _DENSE else 1.0) / len(styles))
    every = math.ceil(len(groups) / 16)
    bars, ticks = [], []
    for index, (name, amounts) in enumerate(groups):
        middle = _LEFT + slot * (index + 0.5)
        if index % every == 0:
            ticks.append(Mark(middle, HEIGHT - _BOTTOM + 16, name))
        begin = middle - thickness * len(styles) / 2
        for place, (amount, (meaning, style)) in enumerate(zip(amounts, styles, strict=True)):
            top = up(amount)
            text = f"round {name}, {meaning}: {label(amount)}"
            x = begin + place * thickness
            width = thickness - 1 if slot > _DENSE else thickness  # a gap, where there is room for one
            bars.append(Bar(x + (thickness - width) / 2, top, width, HEIGHT - _BOTTOM - top, style, text))
    return Chart(
        identifier=identifier,
        title=title,
        description=description,
        x_title=count_text(len(groups), "round") if every > 1 else "round",
        x_ticks=tuple(ticks),
        y_ticks=tuple(Mark(_LEFT - 8, up(tick), label(tick)) for tick in y_values),
        bars=tuple(bars),
    )


def _line(series: Series, across: Scale, up: Scale, label: Label) -> Line:
    places = [(across(trained), up(value)) for trained, value in series.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    marks = tuple(
        Mark(x, y, f"{series.name}, after {count_text(trained, 'round')}: {label(value)}")
        for (x, y), (trained, value) in zip(places, series.points, strict=True)
    )
    around = [(across(n), up(value)) for n, value in (*_low(series), *reversed(_high(series)))]
    band = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in around) + "Z" if around else ""
    return Line(series.name, series.style, path, marks if len(marks) <= _MOST_DOTS else (), band)


def _low(series: Series) -> Curve:
    """The lower edge of a series' noise: one standard deviation below its points."""
    deviation = dict(series.deviations)
    return tuple((n, value - deviation[n]) for n, value in series.points if n in deviation)


def _high(series: Series) -> Curve:
    deviation = dict(series.deviations)
    return tuple((n, value + deviation[n]) for n, value in series.points if n in deviation)


def scale(low: float, high: float, begin: float, end: float) -> Scale:
    """From a value to a place: `low` lies at `begin`, `high` at `end`."""
    return lambda value: begin + (value - low) / ((high - low) or 1.0) * (end - begin)


def ticks_around(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers that enclose [low, high] (Heckbert, Graphics Gems, 1990)."""
    if high - low < 1e-9:
        high = low + max(1.0, abs(low) * 0.1)
    rough = (high - low) / max(1, wanted - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * 0.999) * power
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _round_ticks(rounds: int) -> list[int]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**4, 10**5) if rounds / step <= 12)
    return list(range(0, max(rounds, 1) + 1, step))


def _tick_text(tick: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{tick:.{decimals}f}" if f"{step:.{decimals}f}" == f"{step:g}" else f"{tick:.{decimals + 1}f}"
