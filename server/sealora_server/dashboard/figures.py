"""A run's figures as its page shows them: rows of tables, and charts of its rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from sealora_common.records.events import StageName
from sealora_common.records.run_state import Bytes, RunState, Spent
from sealora_common.records.site_rounds import Curve, curve_of
from sealora_common.show.chart import Chart, Series, bar_chart, line_chart
from sealora_common.show.quantities import bytes_text, count_text
from sealora_server.dashboard.facts import ReceiptFacts, RunFacts
from sealora_server.view.told_figure_text import FigureNoise, noise_of_mean, told_name, told_text

_STAGES: tuple[StageName, ...] = ("train", "share", "check", "disclose", "mask", "confirm", "open", "evaluate")


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage over all rounds.

    Attributes:
        name: of the stage.
        times: how often it came to its end.
        seconds: that it took on average.
        share: of the time of all stages, 0 to 1.
        sent: bytes from the sites.
        received: bytes to them.
    """

    name: StageName
    times: int
    seconds: float
    share: float
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One finished round.

    Attributes:
        number: of the round.
        survivors: how many sites are in its sum.
        missing: the others.
        told: the figure of the adapter that came out of it, with its noise; a dash where none was told.
        seconds: that it took; None if that is not known.
        size: bytes of all sites together.
        receipt: what it proves; None while it is not checked.
    """

    number: int
    survivors: int
    missing: tuple[str, ...]
    told: str
    seconds: float | None
    size: Bytes
    receipt: ReceiptFacts | None


def stage_rows(state: RunState) -> tuple[StageRow, ...]:
    """The stages that there were, in their order."""
    whole = sum(spent.seconds for spent in state.stage_seconds.values())
    rows = []
    for name in _STAGES:
        spent, size = state.stage_seconds.get(name, Spent()), state.bytes_of_stages.get(name, Bytes())
        if spent.times or size != Bytes():
            mean = spent.seconds / spent.times if spent.times else 0.0
            rows.append(StageRow(name, spent.times, mean, spent.seconds / whole if whole else 0.0, size.up, size.down))
    return tuple(rows)


def round_rows(run: RunFacts) -> tuple[RoundRow, ...]:
    """The finished rounds, the newest first."""
    state, receipts = run.state, run.chain.by_round
    everyone = set(state.roster) or set(state.taking_part)
    # The times of a run that was resumed are of those rounds that were finished since; the last ones belong together.
    seconds = dict(zip(sorted(state.survivors_of_rounds, reverse=True), reversed(state.round_seconds), strict=False))
    return tuple(
        RoundRow(
            number=number,
            survivors=len(survivors),
            missing=tuple(sorted(everyone - set(survivors))),
            told=_told(state, number),
            seconds=seconds.get(number),
            size=state.bytes_of_rounds.get(number, Bytes()),
            receipt=receipts.get(number),
        )
        for number, survivors in sorted(state.survivors_of_rounds.items(), reverse=True)
    )


def newest_told(state: RunState) -> str:
    """The newest figure that was told, with its noise; empty before there is one."""
    curve = curve_of(state.heldout_losses)
    return _told(state, curve[-1][0]) if curve else ""


def first_told(state: RunState) -> str:
    """The figure of the adapter that nobody had trained, with its noise; empty where none was told."""
    return _told(state, 0) if state.heldout_losses.get(0) is not None else ""


def figure_chart(run: RunFacts) -> Chart | None:
    """The federation's figure by rounds trained, with the noise on it; None before there is one."""
    state = run.state
    curve = curve_of(state.heldout_losses)
    if not curve:
        return None
    noises = {trained: noise for trained, _ in curve if (noise := _noise(state, trained)) is not None}
    deviations: Curve = tuple((trained, noise.deviation) for trained, noise in noises.items())
    heldout = state.heldout
    description = (
        f"{told_name(state)} by rounds trained, in {heldout.unit}; {heldout.better} is better. "
        f"From {_told(state, curve[0][0])} after {count_text(curve[0][0], 'round')} to "
        f"{_told(state, curve[-1][0])} after {count_text(curve[-1][0], 'round')}."
    )
    return line_chart(
        identifier="figure",
        title=f"{heldout.title}, {heldout.unit}",
        description=description,
        series=[Series("federation (mean)", curve, "federation", deviations)],
        rounds=max(state.rounds, curve[-1][0]),
        label=heldout.text,
    )


def noise_sentence(state: RunState) -> str:
    """What the band around the curve is, or that there is none."""
    curve = curve_of(state.heldout_losses)
    noise = _noise(state, curve[-1][0]) if curve else None
    if noise is None:
        return "No noise was added to it." if state.started is not None and not state.is_private else ""
    text, more = state.heldout.noise_text(noise.deviation), " or more" if noise.is_least else ""
    return f"The band is one standard deviation of the noise on it: +-{text}{more} {state.heldout.unit}."


def survivors_chart(run: RunFacts) -> Chart | None:
    """How many sites are in each round's sum; None before there is one."""
    counts = {number: len(sites) for number, sites in sorted(run.state.survivors_of_rounds.items())}
    if not counts:
        return None
    return bar_chart(
        identifier="survivors",
        title="Sites in the sum, by round",
        description=(
            f"Of {count_text(len(run.sites), 'site')}, {_range_text(list(counts.values()))} in each round's sum; "
            f"{fmean(counts.values()):.3g} on average."
        ),
        groups=[(str(number), (count,)) for number, count in counts.items()],
        styles=(("in the sum", "up"),),
        label=lambda amount: f"{amount:g}",
    )


def _range_text(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low} are" if low == high else f"{low} to {high} are"


def bytes_chart(run: RunFacts) -> Chart | None:
    """What went each way in each round; None before there was anything."""
    state = run.state
    if not state.bytes_of_rounds:
        return None
    return bar_chart(
        identifier="bytes",
        title="Bytes by round, all sites together",
        description=(f"In all {bytes_text(state.bytes.up)} from the sites and {bytes_text(state.bytes.down)} to them."),
        groups=[
            ("final" if number > state.rounds else str(number), (size.up, size.down))
            for number, size in sorted(state.bytes_of_rounds.items())
        ],
        styles=(("from the sites", "up"), ("to them", "down")),
        label=lambda amount: bytes_text(round(amount)),
    )


def _told(state: RunState, trained: int) -> str:
    value = state.heldout_losses.get(trained)
    return state.heldout.text(None) if value is None else told_text(value, _noise(state, trained), state)


def _noise(state: RunState, trained: int) -> FigureNoise | None:
    """On the figure that was told after so many rounds: the next round's sites told it. No site's own file is read."""
    return noise_of_mean(state, {}, len(state.survivors_of_rounds.get(trained + 1, state.survivors)))
