"""The table of what was checked on a device: what held, on what, and the figures of it, as Markdown and as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

CHECK, CASE, DEVICE, FIGURE = "check", "case", "device", "figure"
"""Properties of a test that is a check, by which it is told between processes."""
OUTCOMES = {"passed": "holds", "failed": "DOES NOT HOLD", "skipped": "not checked"}


@dataclass(frozen=True)
class Row:
    """One check in one case.

    Attributes:
        check: what is claimed.
        case: of which model or settings.
        device: "cpu" or "cuda".
        outcome: of `OUTCOMES`.
        figure: what was measured, or why nothing was.
        seconds: the check took.
    """

    check: str
    case: str
    device: str
    outcome: str
    figure: str
    seconds: float


class DeviceReport:
    """A plugin of pytest that gathers the rows and writes them at the end.

    Args:
        path: of both files, without their suffix.
    """

    def __init__(self, path: Path) -> None:
        self.path = path if path.suffix not in (".md", ".json") else path.with_suffix("")
        self.rows: list[Row] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        if CHECK not in told or (report.when != "call" and report.outcome == "passed"):
            return
        figure = str(told.get(FIGURE, ""))
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            figure = str(report.longrepr[2]).removeprefix("Skipped: ")
        elif report.outcome == "failed":
            figure = "; ".join(part for part in (figure, _last_line(report)) if part)
        self.rows.append(
            Row(
                check=str(told[CHECK]),
                case=str(told.get(CASE, "")),
                device=str(told.get(DEVICE, "")),
                outcome=OUTCOMES[report.outcome],
                figure=figure,
                seconds=round(report.duration, 2),
            )
        )

    def pytest_sessionfinish(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        machine = machine_of()
        content = {"machine": machine, "checks": [asdict(row) for row in self.rows]}
        _beside(self.path, ".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _beside(self.path, ".md").write_text(markdown(machine, self.rows), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(f"{len(self.rows)} checks are told in {self.path}.md and {self.path}.json")


def machine_of() -> dict[str, str]:
    """What the figures are of."""
    import torch

    told = {name: version(name) for name in ("sealora", "torch", "transformers", "peft", "bitsandbytes")}
    told["processor"] = platform.processor() or platform.machine()
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        told["GPU"] = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
        told["CUDA"] = str(torch.version.cuda)
    else:
        told["GPU"] = "none"
    return told


def markdown(machine: dict[str, str], rows: list[Row]) -> str:
    """The table, and what it is of."""
    held = sum(row.outcome == "holds" for row in rows)
    lines = [
        "# What was checked",
        "",
        f"{held} of {len(rows)} checks hold.",
        "",
        *(f"- {name}: {value}" for name, value in machine.items()),
        "",
        "| check | case | device | outcome | figure | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (row.check, row.case, row.device, row.outcome, row.figure, f"{row.seconds:.2f}")
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr).strip().splitlines()[0][:300]
