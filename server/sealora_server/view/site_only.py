"""What each site of a simulated run would have come to alone, put beside the run by `sealora compare --into`."""

from __future__ import annotations

from pathlib import Path

from pydantic import FiniteFloat

from sealora_common.config import LARGE, from_json, read_file, why_not
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.records.record import WrittenRecord

SITE_ONLY = "site_only.json"
"""In a simulation's directory."""


class AloneSite(WrittenRecord):
    """One site that trained on its own records alone, without privacy: the mean over the seeds."""

    name: str
    figure: FiniteFloat
    """The mean over all sites of its model's figure on the held-out records of each."""
    own_figure: FiniteFloat
    """On its own held-out records."""


class SiteOnly(WrittenRecord):
    """What `site_only.json` holds. The figures are exact, and no release."""

    seeds: tuple[int, ...]
    sites: tuple[AloneSite, ...]

    @property
    def figures(self) -> dict[str, float]:
        """Site -> figure on all sites' held-out records."""
        return {site.name: site.figure for site in self.sites}

    @property
    def own_figures(self) -> dict[str, float]:
        """Site -> figure on its own."""
        return {site.name: site.own_figure for site in self.sites}


def read_site_only(run_dir: Path) -> SiteOnly | None:
    """What lies beside the run in `run_dir`; None if nothing does.

    Raises:
        StorageError: it is damaged.
    """
    path = run_dir / SITE_ONLY
    if not path.exists():
        return None
    try:
        return from_json(SiteOnly, read_file(path, LARGE.longest), LARGE)
    except (OSError, UnreadableError) as error:
        raise StorageError(
            f"{path}: cannot be read ({why_not(error)}): delete it, and give sealora compare --into once more"
        ) from None
