"""`sealora.Run`: a run's directory with its figures as objects and tables."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sealora.arguments import PathText, flag, path
from sealora.at_work import at_work, in_words_of_python
from sealora.frames import data_frame, html_table
from sealora_common.errors import SealoraError
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.completions import read_completions
from sealora_common.records.names import REPORT
from sealora_common.records.outcome import read_outcome
from sealora_common.records.run_state import RunState
from sealora_common.records.site_rounds import SiteHistory
from sealora_common.show.quantities import bytes_text, count_text, epsilon_text, target_text, time_text
from sealora_server.view.histories import federation_curve, read_histories
from sealora_server.view.summary import Summary, read_state, summarize

if TYPE_CHECKING:
    import pandas as pd

_MOST_SITES_LISTED = 24


class Run:
    """A run in a directory, of a simulation or of a server; made by `simulate` and `read_run`.

    Attributes:
        directory: the run's.
        summary: all of its figures, as `summary.json` has them.
    """

    def __init__(self, directory: Path, summary: Summary) -> None:
        self.directory = directory
        self.summary = summary

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The recipe that it ran by, bound to the base model's digest."""
        return load_recipe(self.directory / "recipe.yaml")

    @property
    def score(self) -> float | None:
        """The share, from 0 to 1, of what was asked that the final adapter does right on held-out records.

        None where the recipe's metric is a loss, or nothing is measured yet: `heldout` is either.
        """
        return self.summary.score_after

    @property
    def heldout(self) -> float | None:
        """The federation's held-out figure of the final adapter, in the unit that `summary.heldout` says."""
        return self.summary.heldout_loss_after

    @property
    def epsilon(self) -> float | None:
        """The most that any site has spent; without the sites' own files what the recipe allows; None without privacy.

        It holds for `summary.delta`, and for one record, or person where the recipe names a person column.
        """
        spent = [site.epsilon for site in self.summary.sites if site.epsilon is not None]
        return max(spent, default=self.summary.epsilon)

    @property
    def report(self) -> Path:
        """The page that tells all of it, `report.html`; it needs nothing but itself.

        Raises:
            SealoraError: there is none yet.
        """
        return self._made(self.directory / REPORT)

    @property
    def adapter(self) -> Path:
        """The directory of the final adapter, which PEFT opens.

        Raises:
            SealoraError: there is none yet.
        """
        return self._made(self.directory / "adapter")

    def rounds(self, *, by_site: bool = False) -> pd.DataFrame:
        """The run round by round: round 0 is the adapter that it began with.

        Columns: `round` (rounds trained), `heldout` (the federation's held-out figure of that adapter), `epsilon` (the
        most that any site has spent by then), `seconds`, `bytes_up`, `bytes_down`. By site: `round`, `site`,
        `heldout`, `epsilon`, each site's own and exact; a server's run has none. Units are in `attrs["units"]`.

        Raises:
            SealoraError: pandas is not installed.
        """
        told, histories = self.summary.heldout, read_histories(self.directory)
        columns = {"round": "rounds trained"} | ({"site": ""} if flag("by_site", by_site) else {})
        columns |= {"heldout": told.unit, "epsilon": ""}
        if by_site:
            rows = [row for history in histories.values() for row in _rounds_of_site(history)]
        else:
            columns |= {"seconds": "s", "bytes_up": "bytes", "bytes_down": "bytes"}
            rows = _rounds_of_all(read_state(self.directory), histories)
        return data_frame(rows, columns, heldout=f"{told.name}, {told.better} is better")

    def sites(self) -> pd.DataFrame:
        """The run site by site, each by its own exact figures; a server's run has the names alone.

        Columns: `site`, `records` and `heldout_records` (counts), `truncated` (records longer than `data.max_tokens`),
        `heldout_before`, `heldout_after`, `epsilon`, `delta`, `bytes_up`, `bytes_down`. Units are in `attrs["units"]`.

        Raises:
            SealoraError: pandas is not installed.
        """
        told = self.summary.heldout
        rows = [
            {
                "site": site.name,
                "records": site.records,
                "heldout_records": site.heldout_records,
                "truncated": site.truncated,
                "heldout_before": site.heldout_loss_before,
                "heldout_after": site.heldout_loss_after,
                "epsilon": site.epsilon,
                "delta": site.delta,
                "bytes_up": site.bytes_up,
                "bytes_down": site.bytes_down,
            }
            for site in self.summary.sites
        ]
        columns = {"site": "", "records": "records", "heldout_records": "records", "truncated": "records"}
        columns |= {"heldout_before": told.unit, "heldout_after": told.unit, "epsilon": "", "delta": ""}
        columns |= {"bytes_up": "bytes", "bytes_down": "bytes"}
        return data_frame(rows, columns, heldout=f"{told.name}, {told.better} is better")

    def answers(self) -> pd.DataFrame:
        """Held-out prompts, drawn by lot, with the answers before and after; a simulation alone has them.

        Columns: `site`, `prompt`, `reference`, `before`, `after`, `is_exact` (after is the reference to the letter).

        Raises:
            SealoraError: pandas is not installed.
        """
        rows = [each.model_dump() | {"is_exact": each.is_exact} for each in read_completions(self.directory)]
        return data_frame(rows, dict.fromkeys(("site", "prompt", "reference", "before", "after", "is_exact"), ""))

    def export(
        self, out: PathText, *, licence: str = "other", merged: bool = False, base_name: str | None = None
    ) -> Path:
        """Writes the final adapter for others: PEFT with tokenizer, model card and the base model's licence.

        Args:
            out: the directory that is made.
            licence: its identifier, for the card.
            merged: a whole model, with the adapter merged into it.
            base_name: under which others know the base model; None takes the recipe's.

        Returns:
            The directory.

        Raises:
            SealoraError: the run has no adapter yet, the base model is not here, or there is something in `out`.
        """
        from sealora_server.simulation.sites import simulated_sites

        place, whole = path("out", out), flag("merged", merged)
        for name, text in (("licence", licence), ("base_name", base_name or "a")):
            if not isinstance(text, str) or not text.strip():
                raise SealoraError(f"{name} is {text!r}: give a text")
        with at_work():
            found = self.adapter.parent
            simulated_sites().export(found, place, merged=whole, base_name=base_name, licence=licence)
        return place

    def __repr__(self) -> str:
        return f"<sealora.Run {str(self.directory)!r}: {self._headline()}>"

    def _repr_html_(self) -> str:
        summary, told = self.summary, self.summary.heldout
        columns = ("site", "records", f"{told.short} before", "after", "epsilon spent", "sent")
        rows = [
            (
                site.name,
                "-" if site.records is None else f"{site.records:,}",
                told.text(site.heldout_loss_before),
                told.text(site.heldout_loss_after),
                epsilon_text(site.epsilon),
                bytes_text(site.bytes_up),
            )
            for site in summary.sites[:_MOST_SITES_LISTED]
        ]
        notes = [f"{len(summary.sites) - _MOST_SITES_LISTED} more sites"] * (len(summary.sites) > _MOST_SITES_LISTED)
        if summary.is_private:
            notes.append(
                f"epsilon <= {target_text(summary.epsilon)} at delta {target_text(summary.delta)}, for each "
                f"{self.recipe.data.unit} of a site"
            )
        else:
            notes.append("No differential privacy: do not hand this adapter out.")
        if summary.insecure:
            notes.append("Randomness was seeded for a test: nothing of this run is private.")
        notes.append(f"All of it: {self.directory / REPORT}")
        return html_table(self._headline(), columns, rows, notes)

    def _headline(self) -> str:
        summary, told = self.summary, self.summary.heldout
        line = f"{summary.name}: {summary.rounds_finished} of {count_text(summary.rounds, 'round')}"
        if summary.status != "finished":
            line += f", {summary.status}"
        if summary.heldout_loss_after is not None:
            line += f", {told.name} {told.text(summary.heldout_loss_before)} -> {told.text(summary.heldout_loss_after)}"
        return f"{line}, {time_text(summary.seconds)}"

    def _made(self, place: Path) -> Path:
        if not place.exists():
            raise SealoraError(
                f"{place}: is not there, as the run has not come to its end: go on with it by "
                f"simulate(..., out={str(self.directory)!r}, resume=True)"
            )
        return place


def _spent(history: SiteHistory) -> dict[int, float]:
    """By rounds trained: nothing before the first. Empty without privacy."""
    return {0: 0.0, **dict(history.epsilons)} if history.epsilons else {}


def _rounds_of_site(history: SiteHistory) -> list[dict[str, object]]:
    figures, spent = dict(history.losses), _spent(history)
    return [
        {"round": number, "site": history.name, "heldout": figures.get(number), "epsilon": spent.get(number)}
        for number in sorted({*figures, *spent})
    ]


def _rounds_of_all(state: RunState, histories: Mapping[str, SiteHistory]) -> list[dict[str, object]]:
    curve, spent = dict(federation_curve(state, histories)), [_spent(each) for each in histories.values()]
    rows: list[dict[str, object]] = []
    for number in range(state.rounds_finished + 1):
        is_known = 0 < number <= len(state.round_seconds)
        sent = state.bytes_of_rounds.get(number) if number else None
        rows.append(
            {
                "round": number,
                "heldout": curve.get(number),
                "epsilon": max((own[number] for own in spent if number in own), default=None),
                "seconds": state.round_seconds[number - 1] if is_known else None,
                "bytes_up": None if sent is None else sent.up,
                "bytes_down": None if sent is None else sent.down,
            }
        )
    return rows


def read_run(directory: PathText) -> Run:
    """The run in a directory: one that is over, stopped, or still at work elsewhere, as far as it has come.

    Args:
        directory: of a simulation, or a server's runs/NAME.

    Raises:
        SealoraError: there is no run there.
    """
    place = path("directory", directory)
    with in_words_of_python():
        outcome = read_outcome(place)
        summary = summarize(place)
    at_two = None if outcome is None or outcome.run_id != summary.run_id else outcome.epsilon_at_two_sites
    return Run(place, summary.model_copy(update={"epsilon_at_two_sites": at_two}))
