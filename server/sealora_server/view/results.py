"""What a finished run prints: the figures of every site, example completions, where the files are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora_common.records.completions import Completion
from sealora_common.records.names import SUMMARY
from sealora_common.show.quantities import (
    bytes_text,
    change_text,
    count_text,
    epochs_text,
    epsilon_text,
    loss_text,
    names_text,
    target_text,
    time_text,
)
from sealora_common.show.safe_text import safe_text
from sealora_server.view.summary import SiteSummary, Summary

_MOST_SITES_LISTED = 24


def print_results(summary: Summary, completions: Sequence[Completion], run_dir: Path, console: Console) -> None:
    """Prints the run's result to `console`.

    Args:
        summary: the run's figures.
        completions: answers of the model before and after; may be empty.
        run_dir: where the run's files lie.
        console: any console; wider than 80 columns gains nothing.
    """
    console.print()
    console.print(_headline(summary), soft_wrap=True)
    if not summary.is_private:
        console.print(Text("No differential privacy: do not hand this adapter out.", style="bold red"))
    if summary.insecure:
        console.print(Text("Randomness was seeded for a test: nothing of this run is private.", style="bold red"))
    console.print(_site_table(summary))
    if all(site.records is None for site in summary.sites):
        console.print(Text("A site's own figures stay at the site; the server knows the federation's.", style="dim"))
    if summary.epsilon_at_two_sites is not None:
        promised = target_text(summary.epsilon_at_two_sites)
        console.print(Text(f"Epsilon is each site's; who is in the data of two sites is promised {promised}.", "dim"))
    if summary.continue_from is not None:
        on_top = ", whose epsilon comes on top" if summary.is_private else ""
        console.print(Text(f"Began with adapter {summary.continue_from[:12]} of an earlier run{on_top}.", "dim"))
    if summary.stopped_early:
        rounds = count_text(summary.rounds_finished, "round")
        console.print(Text(f"Stopped early, after {rounds}: the held-out loss no longer improved.", "dim"))
    if summary.kept_round not in {None, summary.rounds_finished}:
        console.print(Text(f"Kept is the adapter of round {summary.kept_round}, whose held-out loss was best.", "dim"))
    _print_trouble(summary, console)
    for completion in completions:
        console.print()
        console.print(_completion(completion, console))
    console.print()
    console.print(_files(run_dir), soft_wrap=True)


def _headline(summary: Summary) -> Text:
    line = Text.assemble((summary.name, "bold"), f": {summary.rounds_finished} of ")
    line.append(f"{count_text(summary.rounds, 'round')}")
    if summary.expected_epochs is not None:
        line.append(f" ({epochs_text(summary.expected_epochs)} expected)")
    line.append(f" in {time_text(summary.seconds)}")
    if summary.heldout_loss_before is not None and summary.heldout_loss_after is not None:
        line.append(f", {summary.heldout.name} {loss_text(summary.heldout_loss_before)} -> ")
        line.append(loss_text(summary.heldout_loss_after), style="bold")
        if summary.heldout.is_loss:
            line.append(f" ({change_text(summary.heldout_loss_change)})")
    return line


def _site_table(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_footer=True)
    before, name = loss_text(summary.heldout_loss_before), summary.heldout.short
    table.add_column("site", "federation")
    table.add_column(f"{name}\nbefore", before, justify="right")
    table.add_column(f"{name}\nafter", loss_text(summary.heldout_loss_after), justify="right")
    table.add_column("epsilon\nspent", f"<= {target_text(summary.epsilon)}", justify="right")
    table.add_column("\ndelta", f"<= {target_text(summary.delta)}", justify="right")
    table.add_column("\nsent", bytes_text(summary.bytes_up), justify="right")
    table.add_column("\nreceived", bytes_text(summary.bytes_down), justify="right")
    for site in summary.sites[:_MOST_SITES_LISTED]:
        table.add_row(*_site_row(site))
    if len(summary.sites) > _MOST_SITES_LISTED:
        table.add_row(Text(f"and {len(summary.sites) - _MOST_SITES_LISTED} more: see summary.json", style="dim"))
    return table


def _site_row(site: SiteSummary) -> tuple[Text | str, ...]:
    return (
        Text(safe_text(site.name)),
        loss_text(site.heldout_loss_before),
        loss_text(site.heldout_loss_after),
        epsilon_text(site.epsilon),
        target_text(site.delta),
        bytes_text(site.bytes_up),
        bytes_text(site.bytes_down),
    )


def _print_trouble(summary: Summary, console: Console) -> None:
    for away in summary.turned_away[:8]:
        console.print(Text(f"{safe_text(away.name)} took no part: {safe_text(away.reason)}", "yellow"))
    if len(summary.turned_away) > 8:
        more = len(summary.turned_away) - 8
        console.print(Text(f"and {count_text(more, 'site')} more took no part: see summary.json", "yellow"))
    if summary.missing_sites:
        console.print(Text(f"missing: {names_text(summary.missing_sites)}", "yellow"))
    for dropped in summary.dropped_sites[:8]:
        where = f"round {dropped.round}, {dropped.stage}"
        console.print(Text(f"lost {safe_text(dropped.site)} ({where}): {safe_text(dropped.reason)}", "yellow"))
    if len(summary.dropped_sites) > 8:
        console.print(Text(f"and {len(summary.dropped_sites) - 8} more failures: see summary.json", "yellow"))
    for blamed in summary.blamed_sites:
        reason = f"{safe_text(blamed.reason)}; {safe_text(blamed.evidence)} shows it"
        console.print(Text(f"{safe_text(blamed.site)} broke the sealing protocol ({reason})", "yellow"))
    for aborted in summary.aborted_rounds:
        attempt = f"round {aborted.round}, attempt {aborted.attempt}, given up"
        console.print(Text(f"{attempt}: {safe_text(aborted.reason)}", "yellow"))


def _completion(completion: Completion, console: Console) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(max_width=max(20, min(console.width, 80) - 12))
    grid.add_row("prompt", _model_text(completion.prompt, console))
    grid.add_row("before", _model_text(completion.before, console))
    after = _model_text(completion.after, console)
    after.stylize("bold")
    grid.add_row("after", after)
    grid.add_row("reference", _model_text(completion.reference, console))
    return grid


def _model_text(text: str, console: Console) -> Text:
    shown = " ".join(safe_text(" ".join(text.split())).split()) or "(nothing)"
    shown = shown if len(shown) <= 280 else f"{shown[:277]}..."
    return Text(shown.encode(console.encoding, "replace").decode(console.encoding))


def _files(run_dir: Path) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("report", Text(str(run_dir / "report.html")))
    grid.add_row("adapter", Text(f"{run_dir / 'adapter'}/"))
    grid.add_row("figures", Text(str(run_dir / SUMMARY)))
    return grid
