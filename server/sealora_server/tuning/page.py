"""What `sealora tune` prints: a table of trials, the best values, what looking has cost, and where the files are."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora_common.show.quantities import count_text
from sealora_server.tuning.result import TuningResult
from sealora_server.tuning.tuning import BEST, JSON, PAGE
from sealora_server.tuning.words import column_names, column_texts


def print_tuning(found: TuningResult, directory: Path, console: Console) -> None:
    """Prints it.

    Args:
        found: the tuning.
        directory: where its files lie.
        console: any.
    """
    heldout = found.heldout
    console.print()
    console.print(
        Text.assemble(
            (found.recipe, "bold"),
            f": {heldout.name} of all sites' held-out {found.unit}s ({heldout.unit}, {heldout.better} is better), "
            f"{count_text(len(found.trials), 'trial')} of {count_text(found.seeds, 'seed')}",
        ),
        soft_wrap=True,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("trial", vertical="bottom", no_wrap=True)
    for name in column_names(found):
        table.add_column(name.replace("_", "_\n").replace(" ", "\n"), justify="right", vertical="bottom")
    for trial in found.trials:
        row = (Text(text) for text in column_texts(trial, found))
        table.add_row(Text(trial.title), *row, style="bold" if trial.number == found.best else "")
    console.print(table)
    for sentence in (found.gain, found.price):
        if sentence is not None:
            console.print(Text(sentence.sentence, style="bold"), soft_wrap=True)
    for note in found.notes:
        console.print(Text(note, style="dim"), soft_wrap=True)
    if found.best_overrides:
        console.print()
        console.print(Text(" ".join(found.best_overrides), style="bold"), soft_wrap=True)
    console.print()
    files = Table.grid(padding=(0, 2))
    for name, file in (("recipe", BEST), ("page", PAGE), ("figures", JSON)):
        if file != BEST or found.best is not None:
            files.add_row(Text(name, style="dim"), Text(str(directory / file)))
    console.print(files, soft_wrap=True)
