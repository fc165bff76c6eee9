"""The whole of a run in one object, and in `summary.json`.

A site's figures come from the site's own file and from nowhere else. In a deployed run there is none, so the
summary names the sites, leaves their figures null and gives the federation's from the opened sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.errors import StorageError
from sealora_common.records.event_log import read_events
from sealora_common.records.events import RunStarted, TurnedAway
from sealora_common.records.fold import fold
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.names import EVENTS, SUMMARY
from sealora_common.records.run_state import Ending, RunState
from sealora_common.records.share_interval import share_interval
from sealora_common.records.site_rounds import SiteHistory
from sealora_common.storage.durable import write_atomically
from sealora_server.view.histories import federation_curve, read_histories
from sealora_server.view.site_only import SiteOnly, read_site_only
from sealora_server.view.told_figure_text import noise_of_mean

Status = Literal["running"] | Ending


class SiteSummary(BaseModel):
    """One site's whole run. All figures are null in a deployed run: they stay at the site."""

    model_config = ConfigDict(frozen=True)

    name: str
    epsilon: float | None = None
    delta: float | None = None
    records: int | None = None
    heldout_records: int | None = None
    truncated: int | None = None
    bytes_up: int | None = None
    bytes_down: int | None = None
    heldout_loss_before: float | None = None
    heldout_loss_alone: float | None = None
    """Of the adapter that it would train alone, without privacy; null unless `sealora compare --into` told it."""
    heldout_loss_after: float | None = None


class DroppedSite(BaseModel):
    """A site that failed in a stage of a round."""

    model_config = ConfigDict(frozen=True)

    round: int
    stage: str
    site: str
    reason: str


class BlamedSite(BaseModel):
    """A site that broke the sealing protocol, and the file in the run's directory that shows it."""

    model_config = ConfigDict(frozen=True)

    round: int
    attempt: int
    site: str
    reason: str
    evidence: str


class AbortedRound(BaseModel):
    """An attempt at a round that too few sites finished."""

    model_config = ConfigDict(frozen=True)

    round: int
    attempt: int
    reason: str


class Summary(BaseModel):
    """What `summary.json` holds."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    run_id: str
    status: Status
    rounds: int
    """The recipe's."""
    rounds_finished: int
    expected_epochs: float | None = None
    """How often a record was expected to be drawn in the rounds that finished."""
    continue_from: str | None = None
    """SHA-256 of the values of the adapter that it began with, if that is an earlier run's: the figures before are of
    that, and what that run spent on the same records comes on top of the epsilons here."""
    stopped_early: bool = False
    """Whether the held-out figures ended it before the recipe's last round."""
    kept_round: int | None = None
    """Rounds that the final adapter has been trained; null before there is one."""
    heldout: HeldoutFigure = HeldoutFigure()
    """What the three figures that follow are."""
    heldout_loss_before: float | None
    """Mean over the sites of the untrained adapter's figure on their held-out records."""
    heldout_loss_after: float | None
    """Of the final adapter, whichever round it is of."""
    heldout_loss_change: float | None
    """after / before - 1: -0.25 is a fall by a quarter; null where the figure is no loss."""
    score_metric: str | None = None
    """Name of the figure where it is a share of what was asked, so that it says how good the adapter is; null if it is
    a loss. A score is the federation's `heldout_loss_*` under its own name."""
    score_before: float | None = None
    """From 0 to 1."""
    score_after: float | None = None
    score_site_only: dict[str, float] | None = None
    """By site: of the adapter that it would have trained alone, without privacy, over the held-out records of all
    sites; null where `sealora compare --into` told none."""
    score_interval: tuple[float, float] | None = None
    """95 % of `score_after`, by how many held-out units it was counted on; null where only the sites know that."""
    heldout_noise: float | None = None
    """Least standard deviation of the noise in each of the two figures, in their unit: that of sites which all have as
    many held-out units as are evaluated at most, as nobody but a site knows its own. Null where the figures are the
    means of the sites' own files, which are exact, or where there is no noise."""
    mechanism: str
    is_private: bool = Field(exclude=True)
    """Whether the mechanism protects anything; not written, the mechanism's name is."""
    epsilon: float | None
    """The recipe's bound for every site."""
    epsilon_at_two_sites: float | None = None
    """What the run promises a record (person) that two sites hold; null if nobody worked it out."""
    delta: float | None
    sites: tuple[SiteSummary, ...]
    adapter_sha256: str | None
    recipe_hash: str
    seconds: float
    bytes_up: int
    """All sites together, sent to the server."""
    bytes_down: int
    turned_away: tuple[TurnedAway, ...] = ()
    """Sites that were connected and took no part when it was last told who does."""
    missing_sites: tuple[str, ...] = ()
    """Sites of the roster of which nothing else was known then."""
    dropped_sites: tuple[DroppedSite, ...] = ()
    blamed_sites: tuple[BlamedSite, ...] = ()
    aborted_rounds: tuple[AbortedRound, ...] = ()
    insecure: bool = False
    """The noise or the masks were seeded for a test."""


def read_state(run_dir: Path) -> RunState:
    """What the log of the run at `run_dir` tells.

    Raises:
        StorageError: there is no run there.
    """
    state = fold(RunState(), read_events(run_dir / EVENTS))
    if state.started is None:
        raise StorageError(f"{run_dir / EVENTS}: no run has started there: give the directory of a run, or start one")
    return state


def summarize(run_dir: Path) -> Summary:
    """Reads the run at `run_dir` into a summary; a run that is still going is summed up as far as it is.

    Raises:
        StorageError: there is no run there.
    """
    return summary_of(read_state(run_dir), read_histories(run_dir), read_site_only(run_dir))


def summary_of(state: RunState, histories: Mapping[str, SiteHistory], site_only: SiteOnly | None = None) -> Summary:
    """The summary of a run that has started.

    Args:
        state: the run's.
        histories: the sites' own, by name; empty where they stay at the sites.
        site_only: what they would have come to alone, where that is known.

    Raises:
        ValueError: it has not started.
    """
    started, attendance = state.started, state.attendance
    if started is None:
        raise ValueError("a run that has not started cannot be summed up")
    names = dict.fromkeys((*state.taking_part, *histories))
    alone = site_only.own_figures if site_only is not None else {}
    sites = tuple(_site_summary(name, histories.get(name), state, alone.get(name)) for name in names)
    before, after = _heldout_losses(sites, state, histories)
    is_score = not started.heldout.is_loss
    up, down = _bytes(sites, state)
    return Summary(
        name=started.name,
        run_id=started.run_id,
        status=state.ended or "running",
        rounds=started.rounds,
        rounds_finished=state.rounds_finished,
        expected_epochs=_expected_epochs(state, started),
        continue_from=started.continue_from,
        stopped_early=state.stopped_early is not None,
        kept_round=state.kept_round,
        heldout_loss_before=before,
        heldout_loss_after=after,
        heldout=started.heldout,
        heldout_loss_change=after / before - 1 if before and after is not None and not is_score else None,
        score_metric=started.heldout.name if is_score else None,
        score_before=before if is_score else None,
        score_after=after if is_score else None,
        score_site_only=site_only.figures if is_score and site_only is not None else None,
        score_interval=_score_interval(sites, histories) if is_score else None,
        heldout_noise=None if histories else _heldout_noise(state),
        mechanism=started.mechanism,
        is_private=state.is_private,
        epsilon=started.epsilon,
        delta=started.delta,
        sites=sites,
        adapter_sha256=state.adapter_sha256,
        recipe_hash=started.recipe_hash,
        seconds=round(state.seconds, 3),
        bytes_up=up,
        bytes_down=down,
        turned_away=attendance.turned_away if attendance else (),
        missing_sites=attendance.missing if attendance else (),
        dropped_sites=tuple(DroppedSite.model_validate(event.model_dump()) for event in state.failures),
        blamed_sites=tuple(BlamedSite.model_validate(event.model_dump()) for event in state.blamed),
        aborted_rounds=tuple(AbortedRound.model_validate(event.model_dump()) for event in state.aborted),
        insecure=state.is_insecure,
    )


def _heldout_noise(state: RunState) -> float | None:
    found = noise_of_mean(state, {}, len(state.survivors or state.taking_part))
    return None if found is None else found.deviation


def _expected_epochs(state: RunState, started: RunStarted) -> float | None:
    if started.expected_epochs is None or not started.rounds:
        return None
    return started.expected_epochs * state.rounds_finished / started.rounds


def write_summary(run_dir: Path, epsilon_at_two_sites: float | None = None) -> Summary:
    """Sums the run up, stores that as `summary.json` and returns it.

    Args:
        run_dir: of the run.
        epsilon_at_two_sites: what the run promises somebody whom two sites hold; None if nobody worked it out.

    Raises:
        StorageError: there is no run there, or the file could not be written.
    """
    summary = summarize(run_dir).model_copy(update={"epsilon_at_two_sites": epsilon_at_two_sites})
    write_atomically(run_dir / SUMMARY, summary.model_dump_json(indent=2).encode() + b"\n")
    return summary


def _site_summary(name: str, history: SiteHistory | None, state: RunState, alone: float | None) -> SiteSummary:
    if history is None:
        return SiteSummary(name=name)
    losses = dict(history.losses)
    evaluated = any(line.kind == "evaluate" for line in history.rounds)
    return SiteSummary(
        name=name,
        epsilon=history.latest(lambda line: line.epsilon),
        delta=history.latest(lambda line: line.delta),
        records=history.latest(lambda line: line.records),
        heldout_records=history.latest(lambda line: line.heldout_records),
        truncated=history.latest(lambda line: line.truncated),
        bytes_up=sum(line.bytes_up for line in history.rounds),
        bytes_down=sum(line.bytes_down for line in history.rounds),
        heldout_loss_before=losses.get(0),
        heldout_loss_alone=alone,
        heldout_loss_after=losses.get(state.final_round) if evaluated else None,
    )


def _heldout_losses(
    sites: Sequence[SiteSummary], state: RunState, histories: Mapping[str, SiteHistory]
) -> tuple[float | None, float | None]:
    measured = _measured(sites)
    if measured:
        return fmean(before for _, before, _ in measured), fmean(after for _, _, after in measured)
    curve = dict(federation_curve(state, histories))
    return curve.get(0), curve.get(state.final_round)


def _score_interval(sites: Sequence[SiteSummary], histories: Mapping[str, SiteHistory]) -> tuple[float, float] | None:
    """Of the sites that make the mean, where each tells how many it counted on."""
    counted = [(after, histories[name].heldout_units) for name, _, after in _measured(sites)]
    shares = [(after, units) for after, units in counted if units]
    if not shares or len(shares) < len(counted):
        return None
    return share_interval([after for after, _ in shares], [units for _, units in shares])


def _measured(sites: Sequence[SiteSummary]) -> list[tuple[str, float, float]]:
    """Names, figures before and after: of the same sites, so that one that left or came does not look like learning."""
    return [
        (site.name, site.heldout_loss_before, site.heldout_loss_after)
        for site in sites
        if site.heldout_loss_before is not None and site.heldout_loss_after is not None
    ]


def _bytes(sites: Sequence[SiteSummary], state: RunState) -> tuple[int, int]:
    own = [(site.bytes_up, site.bytes_down or 0) for site in sites if site.bytes_up is not None]
    if own:
        return sum(up for up, _ in own), sum(down for _, down in own)
    return state.bytes
