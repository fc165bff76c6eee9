"""Losses, epsilons, bytes and durations the way a person reads them, the same on every surface."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sealora_common.show.duration_text import duration_text
from sealora_common.show.safe_text import safe_text
from sealora_common.show.size_text import traffic_text

MISSING = "-"
_BARS = "▁▂▃▄▅▆▇█"


def loss_text(loss: float | None) -> str:
    """`3.214`; a dash for a loss nobody measured."""
    return MISSING if loss is None else f"{loss:.3f}"


def noise_text(deviation: float) -> str:
    """A standard deviation with two digits, rounded UP: `0.013`, `2.4`."""
    if deviation <= 0:
        return f"{deviation:g}"
    unit = 10.0 ** (math.floor(math.log10(deviation)) - 1)
    return f"{math.ceil(deviation / unit - 1e-9) * unit:.3g}"


def epsilon_text(epsilon: float | None) -> str:
    """Rounded UP to two decimals, so that no reader is told of less than was spent."""
    if epsilon is None:
        return MISSING
    hundredths = epsilon * 100
    up = int(hundredths) + (hundredths - int(hundredths) > 1e-9)
    return f"{up / 100:.2f}"


def epochs_text(epochs: float | None) -> str:
    """`1 epoch`, `2.4 epochs`."""
    if epochs is None:
        return MISSING
    text = f"{epochs:.3g}" if epochs < 1000 else f"{epochs:.0f}"
    return f"{text} epoch" if text == "1" else f"{text} epochs"


def target_text(value: float | None) -> str:
    """A bound from the recipe, as short as it can be written: `8`, `1e-5`."""
    if value is None or not 0 < value < 1e-3:
        return MISSING if value is None else f"{value:g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def bytes_text(count: int | None) -> str:
    """Decimal units: `812 B`, `4.1 MB`."""
    return MISSING if count is None else traffic_text(count)


def time_text(seconds: float | None) -> str:
    """A duration, as everywhere."""
    return MISSING if seconds is None else duration_text(seconds)


def change_text(fraction: float | None) -> str:
    """A signed percentage: `-41.7 %`."""
    return MISSING if fraction is None else f"{fraction * 100:+.1f} %"


def count_text(number: int, noun: str) -> str:
    """`1 site`, `3 sites`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def names_text(names: Sequence[str]) -> str:
    """`a, b, c`; of more than twelve the first eleven and how many others there are."""
    shown = names if len(names) <= 12 else (*names[:11], f"{len(names) - 11} others")
    return safe_text(", ".join(shown))


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve in one line of block characters, scaled to its own range, thinned to at most `width`."""
    if not values or width < 1:
        return ""
    if len(values) > width:
        last = len(values) - 1
        values = [values[round(i * last / max(1, width - 1))] for i in range(width)]
    low, high = min(values), max(values)
    if high - low < 1e-12:
        return _BARS[len(_BARS) // 2] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)
