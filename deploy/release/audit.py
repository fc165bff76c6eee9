"""Asks whether a locked distribution has a known vulnerability. `make audit` runs this.

pip-audit asks the package index's vulnerability service, and calls what it got no answer about "no known
vulnerability"; here that is told apart.
Exit status: 0, none is known, or there was no service to ask, which is said; 1, one is known; 2, pip-audit failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[2] / "deploy" / "requirements"
LOCKS = [REQUIREMENTS / f"{name}.txt" for name in ("bench", "build", "torch-cuda")]
"""Together they name every locked distribution once: bench has what server, site and dev have."""
_NO_SERVICE = ("network may be blocking this service", "ServiceError")
"""What pip-audit's errors say when the service cannot be reached, or does not answer as one."""


@dataclass
class Findings:
    """What pip-audit reported."""

    known: list[str] = field(default_factory=list)
    """One line a vulnerability."""
    asked: int = 0
    unanswered: list[str] = field(default_factory=list)
    """Names of distributions that the service knows nothing of."""


def ask(locks: list[Path]) -> Findings | None:
    """What is known of the lock files' distributions; None where there is no service.

    Raises:
        ValueError: pip-audit failed otherwise; its last words.
    """
    named = [word for lock in locks for word in ("-r", str(lock))]
    options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "-f", "json"]
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip_audit", *named, *options, "-o", report.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return read(done.returncode, Path(report.name).read_text(), done.stderr)


def read(status: int, report: str, errors: str) -> Findings | None:
    """Judges what pip-audit left: its exit status, its JSON report (perhaps empty) and its standard error.

    Raises:
        ValueError: it failed otherwise than for want of a service.
    """
    if not report.strip():
        if any(said in errors for said in _NO_SERVICE):
            return None
        raise ValueError((errors.strip().splitlines() or [f"it ended with {status} and said nothing"])[-1])
    found = Findings()
    for entry in json.loads(report)["dependencies"]:
        if "skip_reason" in entry:
            found.unanswered.append(entry["name"])
            continue
        found.asked += 1
        for hole in entry["vulns"]:
            mended = ", ".join(hole["fix_versions"]) or "no version yet"
            found.known.append(f"{entry['name']} {entry['version']}: {hole['id']}, mended in {mended}")
    if status != 0 and not found.known:
        raise ValueError((errors.strip().splitlines() or [f"it ended with {status}"])[-1])
    return found if found.asked else None


def main() -> int:
    """Asks; returns the exit status."""
    try:
        found = ask(LOCKS)
    except ValueError as error:
        print(f"Error: pip-audit failed: {error}", file=sys.stderr)
        return 2
    if found is None:
        print("No vulnerability service answers here, so nothing is known of any locked version: ask where one does.")
        return 0
    for line in found.known:
        print(f"{line}: raise it in constraints.txt, then `make lock`.")
    unanswered = f"; unknown to the service: {', '.join(found.unanswered)}" if found.unanswered else ""
    print(f"{found.asked} locked versions asked about, {len(found.known)} known vulnerabilities{unanswered}.")
    return 1 if found.known else 0


if __name__ == "__main__":
    sys.exit(main())
