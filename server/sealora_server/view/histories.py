"""The sites' own histories of a run, and the federation's curve.

Per-site figures are read from the sites' own files, which only a simulation has: the server of a deployed run
never learns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from sealora_common.records.names import HISTORY, SITES
from sealora_common.records.run_state import RunState
from sealora_common.records.site_rounds import Curve, SiteHistory, SiteRound, SiteRoundsTail, curve_of


class HistoryTails:
    """Follows the histories of all sites of a run while they are being written."""

    def __init__(self, run_dir: Path) -> None:
        self._sites_dir = run_dir / SITES
        self._tails: dict[str, SiteRoundsTail] = {}
        self._lines: dict[str, list[SiteRound]] = {}

    def read(self) -> dict[str, SiteHistory]:
        """Every site's history so far, by name. Empty where there are no site files (a deployed run)."""
        for path in sorted(self._sites_dir.glob(f"*/{HISTORY}")):
            self._tails.setdefault(path.parent.name, SiteRoundsTail(path))
        for name, tail in self._tails.items():
            self._lines.setdefault(name, []).extend(tail.read())
        return {name: SiteHistory(name, tuple(lines)) for name, lines in self._lines.items() if lines}


def read_histories(run_dir: Path) -> dict[str, SiteHistory]:
    """Every site's own history by name; empty where the run directory holds no site files."""
    return HistoryTails(run_dir).read()


def federation_curve(state: RunState, histories: Mapping[str, SiteHistory]) -> Curve:
    """The mean held-out loss by rounds trained.

    Where every site's own file has a point it is their mean; elsewhere what the opened sum said.
    """
    points = dict(state.heldout_losses)
    own = [dict(history.losses) for history in histories.values()]
    if own and set(histories) >= set(state.taking_part):
        for trained in set.intersection(*(set(losses) for losses in own)):
            points[trained] = fmean(losses[trained] for losses in own)
    return curve_of(points)
