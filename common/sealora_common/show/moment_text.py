"""A moment as every log and page for operators writes it: local time, and how far that is from UTC."""

from __future__ import annotations

from datetime import datetime


def moment_text(seconds: float) -> str:
    """Unix seconds as `2026-01-31 23:59:59+01:00`: the logs of several institutions can be laid side by side."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", timespec="seconds")
