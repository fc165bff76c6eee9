"""How long the tests of each folder took, told beside pytest's own `--durations`: where `make test` gets slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

TOLD = 10
"""Folders."""


def seconds_by_folder(reports: Iterable[object]) -> Counter[str]:
    """Seconds of all phases of all tests, by the folder that their file lies in."""
    seconds: Counter[str] = Counter()
    for report in reports:
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid.partition("::")[0].rpartition("/")[0]] += report.duration  # type: ignore[assignment]
    return seconds


class FolderTimes:
    """A plugin; it judges nothing, for how long a test takes is the machine's matter too."""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        seconds = seconds_by_folder(report for each in terminalreporter.stats.values() for report in each)
        terminalreporter.section(f"slowest {TOLD} folders of {len(seconds)}, {seconds.total():.0f} s in all")
        for folder, took in seconds.most_common(TOLD):
            terminalreporter.write_line(f"{took:7.1f}s {folder}")
