"""How long something takes, the same in every sentence."""

from __future__ import annotations


def duration_text(seconds: float) -> str:
    """`0.25 s`, `42 s`, `6 min 04 s`, `2 h 15 min`; what is negative, as after a clock was set back, is `0 s`."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
