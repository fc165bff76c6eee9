"""How a figure is written for people: never rounded away from what the file says."""

from __future__ import annotations

from datetime import UTC, datetime

from sealora_common.dossier.figure import MOMENT, Figure, Scalar
from sealora_common.show.safe_text import safe_text

MISSING = "none told"
_LONGEST = 300


def figure_text(figure: Figure) -> str:
    """Value and unit in one line: the number as the file has it, yes or no, names one after the other, a date."""
    value = figure.value
    if isinstance(value, int | float) and figure.unit == MOMENT:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC"
    several = value if isinstance(value, tuple) else (value,)
    text = ", ".join(map(_scalar_text, several)) or "none"
    return f"{text} {figure.unit}" if figure.unit and value is not None else text


def _scalar_text(value: Scalar) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    return safe_text(str(value), _LONGEST)
