"""How a figure is written for people: its value in words, never rounded away from what the file says."""

from __future__ import annotations

from sealora_common.dossier.figure import Scalar, Value
from sealora_common.show.safe_text import safe_text

MISSING = "none told"
_LONGEST = 300


def value_text(value: Value) -> str:
    """One line: the number as the file has it, yes or no, the names one after the other."""
    if isinstance(value, tuple):
        return ", ".join(_scalar_text(each) for each in value) or "none"
    return _scalar_text(value)


def _scalar_text(value: Scalar) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    return safe_text(str(value), _LONGEST)
