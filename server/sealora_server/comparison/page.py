"""What `sealora compare RECIPE` prints: one table, what follows from it, and where the files are."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora_common.show.quantities import MISSING, count_text, target_text, time_text
from sealora_server.comparison.comparing import JSON, PAGE
from sealora_server.comparison.comparison import ArmFigures, Comparison
from sealora_server.comparison.difference_text import spread_text


def print_comparison(found: Comparison, directory: Path, console: Console) -> None:
    """Prints it.

    Args:
        found: the comparison.
        directory: where its files lie.
        console: any.
    """
    heldout = found.heldout
    console.print()
    console.print(
        Text.assemble(
            (found.recipe, "bold"),
            f": {heldout.name} of all sites' held-out {found.unit}s ({heldout.unit}, {heldout.better} is better), "
            f"{count_text(found.rounds, 'round')} of {count_text(found.steps_per_round, 'step')}, "
            f"{count_text(len(found.seeds), 'seed')}",
        ),
        soft_wrap=True,
    )
    console.print(_table(found))
    for told in (found.margin, found.share_of_way):
        if told is not None:
            console.print(Text(told.sentence, style="bold"), soft_wrap=True)
    for note in (*found.notes, found.simulated):
        console.print(Text(note, style="dim"), soft_wrap=True)
    console.print()
    files = Table.grid(padding=(0, 2))
    files.add_row(Text("page", style="dim"), Text(str(directory / PAGE)))
    files.add_row(Text("figures", style="dim"), Text(str(directory / JSON)))
    console.print(files, soft_wrap=True)


def _table(found: Comparison) -> Table:
    heldout = found.heldout
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("arm", vertical="bottom")
    columns = [heldout.short, "spread\nover seeds", f"{found.unit}s\ndrawn", "epsilon", "time\na run"]
    if not heldout.is_loss:
        columns.insert(2, "95 %\nby records")
    for name in columns:
        table.add_column(name, justify="right", vertical="bottom")
    for arm in found.arms:
        table.add_row(Text(arm.title), *_row(arm, found), style="bold" if arm.kind == "federated" else "")
    return table


def _row(arm: ArmFigures, found: Comparison) -> tuple[str, ...]:
    heldout = found.heldout
    promised = "none" if arm.sample_rate is not None else MISSING
    return (
        "diverged" if arm.mean is None else heldout.text(arm.mean),
        spread_text(heldout, arm.spread),
        *(() if heldout.is_loss else (MISSING if arm.interval is None else heldout.range_text(*arm.interval),)),
        f"{arm.drawn:,.0f}" if arm.sample_rate is not None else MISSING,
        promised if arm.epsilon is None else target_text(arm.epsilon),
        time_text(arm.seconds) if arm.sample_rate is not None else MISSING,
    )
