"""What a run leaves for people: `summary.json` and `report.html`, of a simulation as of a server's run."""

from __future__ import annotations

from pathlib import Path

from sealora_server.view.report import write_report
from sealora_server.view.summary import Summary, write_summary


def write_outcome(run_dir: Path, epsilon_at_two_sites: float | None = None) -> Summary:
    """Writes both, of a run however it ended, and returns the summary.

    Args:
        run_dir: of the run.
        epsilon_at_two_sites: what the run promises somebody whom two sites hold; None if nobody worked it out.

    Raises:
        StorageError: no run has started there, or a file could not be written.
    """
    summary = write_summary(run_dir, epsilon_at_two_sites)
    write_report(run_dir, epsilon_at_two_sites)
    return summary
