"""`sealora-site lm-eval`: the tasks of lm-evaluation-harness, of a kept adapter and of its base model, offline."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from sealora_client.cli.trained.which import RunName, SiteDirectory
from sealora_common.show.console import SafeConsole, keep_rows_whole
from sealora_common.show.say import say, say_json


def lm_eval(
    tasks: Annotated[
        str, typer.Option(metavar="NAME[,NAME]...", help="Tasks, groups or tags of the harness, or of --include-path.")
    ],
    run: RunName = None,
    directory: SiteDirectory = Path(),
    include_path: Annotated[
        Path | None, typer.Option(help="A directory with tasks of your own. They are programs: read them first.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask so many documents of each task at the most.")] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, max=100, help="Examples before each question.", show_default="the task's")
    ] = None,
    with_template: Annotated[
        bool, typer.Option("--apply-chat-template", help="Put questions through the chat template.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Documents that are computed together.")] = 8,
    base: Annotated[bool, typer.Option("--base/--no-base", help="Whether to ask the base model, too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Run tasks of lm-evaluation-harness on the adapter and on its base model: what was learnt, what was forgotten.

    Nothing is fetched and nothing is sent anywhere: a task's data must be on this machine.
    """
    from sealora_client.trained.offline import stay_offline

    stay_offline()
    if not sys.stderr.isatty():
        os.environ["TQDM_DISABLE"] = "1"  # before the libraries that draw bars are loaded
    from sealora_client.trained.harness import HarnessWish, ask_harness
    from sealora_client.trained.trained_adapter import find_trained

    trained = find_trained(run, directory)
    say(trained.sentence, to=sys.stderr)
    names = tuple(dict.fromkeys(name.strip() for name in tasks.split(",") if name.strip()))
    wish = HarnessWish(names, include_path, limit, num_fewshot, with_template, batch_size, base)
    found = ask_harness(trained, wish, lambda step: say(step, to=sys.stderr))
    if as_json:
        say_json(found.model_dump_json())
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("task")
    table.add_column("metric")
    for name in ("asked", *(("base model",) if base else ()), "adapter", *(("difference",) if base else ())):
        table.add_column(name, justify="right")
    for row in found.rows:
        metric = row.metric if row.filter == "none" else f"{row.metric} ({row.filter})"
        figures = [_figure(row.before, row.before_error)] if base else []
        figures.append(_figure(row.after, row.after_error))
        figures += [_figure(row.difference, row.difference_error, sign="+")] if base else []
        asked = "-" if row.documents is None else f"{row.documents:,}"
        style = "yellow" if row.is_worse else ""
        table.add_row(*(Text(text) for text in (row.task, metric, asked, *figures)), style=style)
    console = SafeConsole()
    keep_rows_whole(console)
    console.print(table)
    console.print(Text(_reading(base=base, limit=limit), style="dim"), soft_wrap=True)


def _figure(value: float | None, error: float | None, *, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.3f}" + ("" if error is None else f" ± {error:.3f}")


def _reading(*, base: bool, limit: int | None) -> str:
    said = "± is one standard error"
    if base:
        said += "; of a difference, of what each document gained where the metric is a mean over documents"
    if limit is not None:
        said += f". The first {limit} documents of each task alone: to try it, not to report it"
    return f"{said}."
