"""What of a run's `summary.json` is told with its adapter: written by `sealora_server.view.summary`, read at a site."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat

from sealora_common.config import LARGE, from_json, read_file
from sealora_common.errors import UnreadableError
from sealora_common.records.names import SUMMARY


class OutcomeOfSite(BaseModel):
    """One site; its figures are there in a simulation alone."""

    model_config = ConfigDict(frozen=True)

    name: str
    records: int | None = None


class RunOutcome(BaseModel):
    """The federation's figures of a run that has ended."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    rounds_finished: int
    kept_round: int | None = None
    heldout_loss_before: FiniteFloat | None = None
    heldout_loss_after: FiniteFloat | None = None
    heldout_noise: FiniteFloat | None = None
    epsilon_at_two_sites: FiniteFloat | None = None
    sites: tuple[OutcomeOfSite, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether its figures are the means of the sites' own, as in a simulation."""
        return any(site.records is not None for site in self.sites)


def read_outcome(run_dir: Path) -> RunOutcome | None:
    """The outcome of the run in a directory; None if none was written, or none that this version reads."""
    try:
        return from_json(RunOutcome, read_file(run_dir / SUMMARY, LARGE.longest), LARGE)
    except (OSError, UnreadableError):
        return None
