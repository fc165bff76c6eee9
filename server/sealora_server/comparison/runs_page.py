"""What `sealora compare RUN RUN` prints: the runs, then the fields in which their recipes differ."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora_common.show.quantities import MISSING, bytes_text, epsilon_text, target_text, time_text
from sealora_server.comparison.runs import ComparedRun, RunsComparison

_LONGEST_VALUE = 60


def print_runs(found: RunsComparison, console: Console) -> None:
    """Prints it, one column a run."""
    heldout = found.heldout
    console.print(Text(f"{heldout.title} in {heldout.unit}, {heldout.better} is better"), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("")
    for run in found.runs:
        table.add_column(Text(run.directory), justify="right", overflow="fold")
    rows = [_column(run, found) for run in found.runs]
    for name in rows[0]:
        table.add_row(name, *(Text(column[name]) for column in rows))
    console.print(table)
    console.print(_differences(found))
    for note in found.notes:
        console.print(Text(note, style="dim"), soft_wrap=True)


def _column(run: ComparedRun, found: RunsComparison) -> dict[str, str]:
    heldout = found.heldout
    noise = "exact" if not run.noise else f"± {heldout.noise_text(run.noise)} or more"
    kept = "" if run.kept_round in (None, run.rounds_finished) else f", kept {run.kept_round}"
    return {
        "recipe": run.name,
        "rounds": f"{run.rounds_finished}{kept}",
        f"{heldout.short} before": heldout.text(run.heldout_before),
        f"{heldout.short} after": heldout.text(run.heldout_after),
        "their noise (std)": noise,
        "mechanism": run.mechanism,
        "epsilon, at most": "none" if run.epsilon is None else target_text(run.epsilon),
        "delta": "none" if run.delta is None else target_text(run.delta),
        "epsilon spent": epsilon_text(run.epsilon_spent),
        "sent by the sites": bytes_text(run.bytes_up),
        "received": bytes_text(run.bytes_down),
        "time": time_text(run.seconds),
        "adapter": MISSING if run.adapter_sha256 is None else run.adapter_sha256[:12],
    }


def _differences(found: RunsComparison) -> Table | Text:
    if not found.differences:
        return Text("Their recipes agree in every field.", style="bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("recipes differ in")
    for run in found.runs:
        table.add_column(Text(run.directory), justify="right", overflow="fold")
    for row in found.differences:
        table.add_row(Text(row.field), *(Text(_short(value)) for value in row.values))
    return table


def _short(value: str | None) -> str:
    if value is None:
        return MISSING
    return value if len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 3]}..."
