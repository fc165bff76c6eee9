"""One frame of the live display: calm, 80 columns wide, at most as tall as the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sealora_common.records.events import StageName
from sealora_common.records.site_rounds import Curve, SiteHistory
from sealora_common.show.safe_text import safe_text
from sealora_server.view.progress import RunProgress, SiteProgress
from sealora_server.view.quantities import (
    bytes_text,
    change_text,
    duration_text,
    epsilon_text,
    loss_text,
    sparkline,
    target_text,
)

_WORKING: dict[StageName, str] = {
    "train": "training",
    "share": "exchanging keys",
    "check": "checking keys",
    "disclose": "answering",
    "mask": "sealing",
    "confirm": "confirming",
    "open": "opening the sum",
    "evaluate": "evaluating",
}
_ANSWERED: dict[StageName, str] = {
    "train": "trained",
    "share": "keys exchanged",
    "check": "keys checked",
    "disclose": "answered",
    "mask": "sealed",
    "confirm": "confirmed",
    "open": "opened",
    "evaluate": "evaluated",
}
_WIDTH = 80
_LINES_AROUND_SITES = 12
_MARKS = {
    "waiting": ("·", "dim"),
    "working": ("○", "cyan"),
    "answered": ("●", "green"),
    "lost": ("✕", "red"),
    "away": ("✕", "red"),
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one frame shows."""

    progress: RunProgress
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
    fits = len(snapshot.progress.sites) <= max(3, height - _LINES_AROUND_SITES)
    parts: list[RenderableType] = [
        _title(snapshot.progress),
        Text(),
        _round_line(snapshot, width),
        Text(),
        _site_table(snapshot, width) if fits else _site_summary(snapshot),
        Text(),
        _curve_line(snapshot.curve, width),
        _time_line(snapshot),
        _bytes_line(snapshot.progress),
    ]
    if snapshot.notice:
        notice = " ".join(safe_text(snapshot.notice).split())
        parts.append(Text(notice[: 2 * width - 4] + ("..." if len(notice) > 2 * width - 4 else ""), "yellow"))
    return Group(*parts)


def _title(progress: RunProgress) -> Text:
    started = progress.started
    if started is None:
        return Text("Waiting for the run to start", style="dim")
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(started.name, style="bold")
    if started.mechanism == "none":
        title.append("  no differential privacy", style="bold red")
    else:
        promise = f"ε ≤ {target_text(started.epsilon)}, δ ≤ {target_text(started.delta)} at every site"
        title.append(f"  {promise}", style="dim")
    if started.insecure:
        title.append("  insecure: seeded for a test", style="bold red")
    return title


def _round_line(snapshot: Snapshot, width: int) -> Table:
    progress = snapshot.progress
    line = Table.grid(padding=(0, 2))
    line.add_column(width=12)
    line.add_column(width=max(10, width - 12 - 34))
    line.add_column(width=30, no_wrap=True, overflow="ellipsis")
    bar = ProgressBar(
        total=max(1, progress.rounds),
        completed=progress.rounds_done,
        style="bright_black",
        complete_style="cyan",
        finished_style="green",
    )
    line.add_row(_round_text(progress), bar, _activity(snapshot))
    return line


def _round_text(progress: RunProgress) -> Text:
    if progress.round > progress.rounds > 0:
        return Text("Final check", style="bold")
    return Text(f"Round {min(progress.round, progress.rounds)} of {progress.rounds}", style="bold")


def _activity(snapshot: Snapshot) -> Text:
    progress = snapshot.progress
    if progress.ended:
        style = "green" if progress.ended == "finished" else "red"
        return Text(progress.ended, style=style)
    if progress.stage is None:
        return Text("waiting for the sites", style="dim")
    states = Counter(site.state for site in progress.sites.values())
    awaited = states["answered"] + states["working"]
    text = f"{_WORKING[progress.stage]}, {states['answered']} of {awaited}"
    if progress.stage_began_at is not None and snapshot.now - progress.stage_began_at >= 1:
        text += f", {duration_text(snapshot.now - progress.stage_began_at)}"
    return Text(text, style="dim")


def _site_table(snapshot: Snapshot, width: int) -> Table:
    progress = snapshot.progress
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", width=width)
    table.add_column("Site", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("Stage", width=17, no_wrap=True)
    figures = bool(snapshot.histories) or progress.rounds_finished == 0  # else they stay at the sites
    if figures:
        table.add_column("Held-out loss", width=14, no_wrap=True)
        table.add_column("ε spent", width=15, no_wrap=True)
    table.add_column("Sent", width=8, justify="right", no_wrap=True)
    for site in progress.sites.values():
        row: list[RenderableType] = [Text(safe_text(site.name)), _stage_text(site, progress)]
        if figures:
            history = snapshot.histories.get(site.name)
            row += [_loss_cell(history), _epsilon_cell(history, progress)]
        table.add_row(*row, Text(bytes_text(site.bytes_up), style="dim"))
    return table


def _stage_text(site: SiteProgress, progress: RunProgress) -> Text:
    mark, style = _MARKS[site.state]
    if site.state in {"lost", "away"}:
        words = "lost" if site.state == "lost" else "takes no part"
    elif site.state == "waiting" or progress.stage is None:
        words = "ready" if progress.ended is None else "done"
    else:
        words = (_ANSWERED if site.state == "answered" else _WORKING)[progress.stage]
    return Text.assemble((mark, style), " ", (words, "red" if site.state in {"lost", "away"} else ""))


def _loss_cell(history: SiteHistory | None) -> Text:
    losses = [loss for _, loss in history.losses] if history else []
    if not losses:
        return Text("-", style="dim")
    return Text.assemble(f"{losses[-1]:6.3f}", " ", (sparkline(losses, 7) if len(losses) > 1 else "", "cyan"))


def _epsilon_cell(history: SiteHistory | None, progress: RunProgress) -> RenderableType:
    spent = _epsilon(history) if history else None
    target = progress.started.epsilon if progress.started else None
    if spent is None:
        return Text("-", style="dim")
    if not target:
        return Text(epsilon_text(spent))
    filled = min(8, round(spent / target * 8))
    bar = Text.assemble(("━" * filled, "magenta"), ("─" * (8 - filled), "bright_black"))
    return Text.assemble(bar, " ", f"{epsilon_text(spent):>5}")


def _site_summary(snapshot: Snapshot) -> Table:
    """Many sites: how many are where, and the range of their figures."""
    sites = snapshot.progress.sites.values()
    states = Counter(site.state for site in sites)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", width=14)
    table.add_column()
    answered, working = f"{states['answered']} answered", f"{states['working']} at work"
    away = f", {states['away']} not taking part" if states["away"] else ""
    table.add_row("Sites", Text(f"{len(sites)}: {answered}, {working}, {states['lost']} lost{away}"))
    lost = [safe_text(site.name) for site in sites if site.state == "lost"]
    if lost:
        more = f" and {len(lost) - 4} more" if len(lost) > 4 else ""
        table.add_row("Lost", Text(", ".join(lost[:4]) + more, style="red"))
    histories = snapshot.histories.values()
    losses = [history.losses[-1][1] for history in histories if history.losses]
    if losses:
        table.add_row("Held-out loss", f"{loss_text(min(losses))} to {loss_text(max(losses))} across the sites")
    spent = [epsilon for history in histories if (epsilon := _epsilon(history)) is not None]
    started = snapshot.progress.started
    if spent and started:
        most = f"at most {epsilon_text(max(spent))} of {target_text(started.epsilon)}"
        table.add_row("ε spent", most)
    return table


def _curve_line(curve: Curve, width: int) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    line.append("Federation  ", style="dim")
    if not curve:
        return line.append("held-out loss: first figures come with round 1", style="dim")
    losses = [loss for _, loss in curve]
    line.append(f"held-out loss {loss_text(losses[0])} ")
    if len(losses) > 1:
        line.append(sparkline(losses, max(4, width - 50)), style="cyan")
        line.append(f" {loss_text(losses[-1])}", style="bold")
        line.append(f"  {change_text(losses[-1] / losses[0] - 1) if losses[0] else ''}", style="dim")
    return line


def _time_line(snapshot: Snapshot) -> Text:
    progress = snapshot.progress
    line = Text("Time        ", style="dim")
    elapsed = snapshot.now - progress.began_at if progress.began_at is not None else 0.0
    line.append(f"{duration_text(elapsed)} so far", style="default")
    left = progress.seconds_left(snapshot.now)
    if left is not None:
        line.append(f", about {duration_text(left)} left" if left >= 1 else ", nearly done")
    elif not progress.ended and progress.rounds_finished == 0:
        line.append(", time left is known after round 1")
    return line


def _epsilon(history: SiteHistory) -> float | None:
    return history.latest(lambda line: line.epsilon)


def _bytes_line(progress: RunProgress) -> Text:
    sent = sum(site.bytes_up for site in progress.sites.values())
    received = sum(site.bytes_down for site in progress.sites.values())
    line = Text("Sites       ", style="dim")
    return line.append(f"{bytes_text(sent)} sent, {bytes_text(received)} received", style="default")
