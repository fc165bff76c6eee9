"""One frame of the live display: calm, 80 columns wide, at most as tall as the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.run_state import Bytes, RunState, SiteCondition
from sealora_common.records.site_rounds import Curve, SiteHistory
from sealora_common.show.quantities import (
    bytes_text,
    change_text,
    epsilon_text,
    sparkline,
    target_text,
    time_text,
)
from sealora_common.show.safe_text import safe_text
from sealora_server.view.live.progress import rounds_done, seconds_left, shown_round, shown_stage
from sealora_server.view.live.stage_words import ANSWERED, WORKING

_WIDTH = 80
_LINES_AROUND_SITES = 12
_MARKS: dict[SiteCondition, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "working": ("○", "cyan"),
    "answered": ("●", "green"),
    "lost": ("✕", "red"),
    "away": ("✕", "red"),
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one frame shows."""

    state: RunState
    histories: Mapping[str, SiteHistory]
    curve: Curve
    """The federation's."""
    notice: str
    """The last thing that went wrong; empty when nothing did."""
    now: float
    """Unix seconds."""


def frame(snapshot: Snapshot, *, width: int, height: int) -> RenderableType:
    """Draws the run for a terminal of `width` columns and `height` lines."""
    width = min(width, _WIDTH)
    fits = len(snapshot.state.conditions) <= max(3, height - _LINES_AROUND_SITES)
    parts: list[RenderableType] = [
        _title(snapshot.state),
        Text(),
        _round_line(snapshot, width),
        Text(),
        _site_table(snapshot, width) if fits else _site_summary(snapshot),
        Text(),
        _curve_line(snapshot.curve, snapshot.state.heldout, width),
        _time_line(snapshot),
        _bytes_line(snapshot.state),
    ]
    if snapshot.notice:
        notice = " ".join(safe_text(snapshot.notice).split())
        parts.append(Text(notice[: 2 * width - 4] + ("..." if len(notice) > 2 * width - 4 else ""), "yellow"))
    return Group(*parts)


def _title(state: RunState) -> Text:
    started = state.started
    if started is None:
        return Text("Waiting for the run to start", style="dim")
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(started.name, style="bold")
    if not state.is_private:
        title.append("  no differential privacy", style="bold red")
    else:
        promise = f"ε ≤ {target_text(started.epsilon)}, δ ≤ {target_text(started.delta)} at every site"
        title.append(f"  {promise}", style="dim")
    if started.insecure:
        title.append("  insecure: seeded for a test", style="bold red")
    return title


def _round_line(snapshot: Snapshot, width: int) -> Table:
    state = snapshot.state
    line = Table.grid(padding=(0, 2))
    line.add_column(width=12)
    line.add_column(width=max(10, width - 12 - 34))
    line.add_column(width=30, no_wrap=True, overflow="ellipsis")
    bar = ProgressBar(
        total=max(1, state.rounds),
        completed=rounds_done(state),
        style="bright_black",
        complete_style="cyan",
        finished_style="green",
    )
    line.add_row(_round_text(state), bar, _activity(snapshot))
    return line


def _round_text(state: RunState) -> Text:
    number = shown_round(state)
    if number > state.rounds > 0:
        return Text("Final check", style="bold")
    return Text(f"Round {min(number, state.rounds)} of {state.rounds}", style="bold")


def _activity(snapshot: Snapshot) -> Text:
    state = snapshot.state
    if state.ended:
        style = "green" if state.ended == "finished" else "red"
        return Text(state.ended, style=style)
    stage = shown_stage(state)
    if stage is None:
        return Text("waiting for the sites", style="dim")
    counts = Counter(state.conditions.values())
    awaited = counts["answered"] + counts["working"]
    text = f"{WORKING[stage.name]}, {counts['answered']} of {awaited}"
    if snapshot.now - stage.began_at >= 1:
        text += f", {time_text(snapshot.now - stage.began_at)}"
    return Text(text, style="dim")


def _site_table(snapshot: Snapshot, width: int) -> Table:
    state = snapshot.state
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", width=width)
    table.add_column("Site", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("Stage", width=17, no_wrap=True)
    figures = bool(snapshot.histories) or state.rounds_finished == 0  # else they stay at the sites
    if figures:
        title = state.heldout.title
        table.add_column(title, width=max(14, len(title)), no_wrap=True)
        table.add_column("ε spent", width=15, no_wrap=True)
    table.add_column("Sent", width=8, justify="right", no_wrap=True)
    for site, condition in state.conditions.items():
        row: list[RenderableType] = [Text(safe_text(site)), _stage_text(condition, state)]
        if figures:
            history = snapshot.histories.get(site)
            row += [_loss_cell(history), _epsilon_cell(history, state)]
        table.add_row(*row, Text(bytes_text(state.bytes_of_sites.get(site, Bytes()).up), style="dim"))
    return table


def _stage_text(condition: SiteCondition, state: RunState) -> Text:
    mark, style = _MARKS[condition]
    stage = shown_stage(state)
    if condition in {"lost", "away"}:
        words = "lost" if condition == "lost" else "takes no part"
    elif condition == "waiting" or stage is None:
        words = "ready" if state.ended is None else "done"
    else:
        words = (ANSWERED if condition == "answered" else WORKING)[stage.name]
    return Text.assemble((mark, style), " ", (words, "red" if condition in {"lost", "away"} else ""))


def _loss_cell(history: SiteHistory | None) -> Text:
    losses = [loss for _, loss in history.losses] if history else []
    if not losses:
        return Text("-", style="dim")
    return Text.assemble(f"{losses[-1]:6.3f}", " ", (sparkline(losses, 7) if len(losses) > 1 else "", "cyan"))


def _epsilon_cell(history: SiteHistory | None, state: RunState) -> RenderableType:
    spent = _epsilon(history) if history else None
    target = state.started.epsilon if state.started else None
    if spent is None:
        return Text("-", style="dim")
    if not target:
        return Text(epsilon_text(spent))
    filled = min(8, round(spent / target * 8))
    bar = Text.assemble(("━" * filled, "magenta"), ("─" * (8 - filled), "bright_black"))
    return Text.assemble(bar, " ", f"{epsilon_text(spent):>5}")


def _site_summary(snapshot: Snapshot) -> Table:
    """Many sites: how many are where, and the range of their figures."""
    conditions = snapshot.state.conditions
    counts, figure = Counter(conditions.values()), snapshot.state.heldout
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", width=max(14, len(figure.title)))
    table.add_column()
    answered, working = f"{counts['answered']} answered", f"{counts['working']} at work"
    away = f", {counts['away']} not taking part" if counts["away"] else ""
    table.add_row("Sites", Text(f"{len(conditions)}: {answered}, {working}, {counts['lost']} lost{away}"))
    lost = [safe_text(site) for site, condition in conditions.items() if condition == "lost"]
    if lost:
        more = f" and {len(lost) - 4} more" if len(lost) > 4 else ""
        table.add_row("Lost", Text(", ".join(lost[:4]) + more, style="red"))
    histories = snapshot.histories.values()
    losses = [history.losses[-1][1] for history in histories if history.losses]
    if losses:
        table.add_row(figure.title, f"{figure.text(min(losses))} to {figure.text(max(losses))} across the sites")
    spent = [epsilon for history in histories if (epsilon := _epsilon(history)) is not None]
    started = snapshot.state.started
    if spent and started:
        most = f"at most {epsilon_text(max(spent))} of {target_text(started.epsilon)}"
        table.add_row("ε spent", most)
    return table


def _curve_line(curve: Curve, figure: HeldoutFigure, width: int) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    line.append("Federation  ", style="dim")
    if not curve:
        return line.append(f"{figure.name}: first figures come with round 1", style="dim")
    losses = [loss for _, loss in curve]
    line.append(f"{figure.name} {figure.text(losses[0])} ")
    if len(losses) > 1:
        line.append(sparkline(losses, max(4, width - 50)), style="cyan")
        line.append(f" {figure.text(losses[-1])}", style="bold")
        change = change_text(losses[-1] / losses[0] - 1) if losses[0] and figure.is_loss else ""
        line.append(f"  {change}", style="dim")
    return line


def _time_line(snapshot: Snapshot) -> Text:
    state = snapshot.state
    line = Text("Time        ", style="dim")
    elapsed = snapshot.now - state.started_at if state.started_at is not None else 0.0
    line.append(f"{time_text(elapsed)} so far", style="default")
    left = seconds_left(state, snapshot.now)
    if left is not None:
        line.append(f", about {time_text(left)} left" if left >= 1 else ", nearly done")
    elif not state.ended and state.rounds_finished == 0:
        line.append(", time left is known after round 1")
    return line


def _epsilon(history: SiteHistory) -> float | None:
    return history.latest(lambda line: line.epsilon)


def _bytes_line(state: RunState) -> Text:
    line = Text("Sites       ", style="dim")
    return line.append(f"{bytes_text(state.bytes.up)} sent, {bytes_text(state.bytes.down)} received", style="default")
