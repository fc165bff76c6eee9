"""What `sealora memorisation` prints: one table, the verdict, and where the files are."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora_common.show.quantities import count_text, target_text
from sealora_server.memorisation.figure_text import ATTACKS, auc_text, bits_text, more_text, share_text
from sealora_server.memorisation.findings import Memorisation
from sealora_server.memorisation.testing import JSON, PAGE


def print_memorisation(found: Memorisation, directory: Path, console: Console) -> None:
    """Prints it.

    Args:
        found: the test.
        directory: where its files lie.
        console: any.
    """
    promised = "no privacy" if found.epsilon is None else f"epsilon {target_text(found.epsilon)} a {found.unit}"
    console.print()
    console.print(
        Text.assemble(
            (found.recipe, "bold"),
            f": {promised}, {count_text(found.secrets, 'made-up person')} planted "
            f"{', '.join(map(str, found.repeats))} times and as many held back, "
            f"{count_text(found.rounds, 'round')}, {count_text(len(found.seeds), 'seed')}; "
            f"attacked by {found.attacker}",
        ),
        soft_wrap=True,
    )
    console.print(_table(found))
    console.print(
        Text(found.verdict, style="bold red" if found.standing == "more extracted" else "bold"), soft_wrap=True
    )
    for note in (*found.notes, found.simulated):
        console.print(Text(note, style="dim"), soft_wrap=True)
    console.print()
    files = Table.grid(padding=(0, 2))
    files.add_row(Text("page", style="dim"), Text(str(directory / PAGE)))
    files.add_row(Text("figures", style="dim"), Text(str(directory / JSON)))
    console.print(files, soft_wrap=True)


def _table(found: Memorisation) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("arm", overflow="fold")
    table.add_column("attack", no_wrap=True)
    for name in ("planted", "held\nback"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("more, in points\n(95 % interval)", justify="right", no_wrap=True)
    for arm in found.arms:
        style = "bold" if arm.kind == "federated" else ""
        title = arm.title
        for each in arm.extractions:
            table.add_row(
                title, ATTACKS[each.attack], share_text(each.planted), share_text(each.held_back), more_text(each),
                style=style,
            )  # fmt: skip
            title = ""
        bits = arm.exposure
        table.add_row(
            "", "exposure (bits)", f"{bits.planted:.2f}", f"{bits.held_back:.2f}", bits_text(bits), style=style
        )
        table.add_row("", "membership (AUC)", "", "", auc_text(arm.membership), style=style)
    return table
