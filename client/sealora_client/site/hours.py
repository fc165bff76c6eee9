"""The hours of a day in which a site takes orders, as its policy writes them: `20:00-06:00`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Self
from zoneinfo import ZoneInfo

_MINUTES = 24 * 60
_WINDOW = re.compile(r"^(\d{2}):(\d{2})-(\d{2}):(\d{2})$")


@dataclass(frozen=True)
class Window:
    """A part of every day, from `start` up to but not including `end`, minutes after midnight; it may pass midnight.

    >>> night = Window.parse("20:00-06:00")
    >>> night.holds(time(23, 30)), night.holds(time(6, 0))
    (True, False)
    """

    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `HH:MM-HH:MM`; 24:00 may end a window.

        Raises:
            ValueError: it is no such thing, or has no length.
        """
        match = _WINDOW.match(text)
        if match:
            first, second, third, fourth = (int(part) for part in match.groups())
            start, end = 60 * first + second, 60 * third + fourth
            if second < 60 and fourth < 60 and start < _MINUTES and end <= _MINUTES and start != end:
                return cls(start, end)
        raise ValueError(f"{text!r} is no part of a day: write it like 20:00-06:00")

    def holds(self, moment: time) -> bool:
        """Whether the moment is in it."""
        now = 60 * moment.hour + moment.minute
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def __str__(self) -> str:
        return f"{_clock(self.start)}-{_clock(self.end)}"


def is_open(windows: tuple[Window, ...], zone: ZoneInfo, now: datetime) -> bool:
    """Whether the moment `now` (with its time zone) lies in one of the windows of `zone`; no windows are all day."""
    local = now.astimezone(zone).time()
    return not windows or any(window.holds(local) for window in windows)


def next_opening(windows: tuple[Window, ...], zone: ZoneInfo, now: datetime) -> str:
    """The local time (`HH:MM`) at which the next of the windows begins."""
    local = now.astimezone(zone).time()
    minute = 60 * local.hour + local.minute
    return _clock(min((window.start for window in windows), key=lambda start: (start - minute) % _MINUTES))


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
