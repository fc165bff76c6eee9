"""A report on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora_client.data_report.report import DataReport
from sealora_client.data_report.tables import ReportTable, tables

LOCAL = "All of this is for you alone: it was worked out on this machine, and none of it is sent anywhere."


def show_report(report: DataReport, console: Console) -> None:
    """Tables first, as what is wrong is looked for at the end."""
    console.print(f"{report.data}, read by the recipe {report.recipe}", style="bold", markup=False, highlight=False)
    for table in tables(report):
        console.print()
        console.print(_drawn(table))
        if table.note:
            console.print(table.note, style="dim", markup=False, highlight=False)
    console.print()
    for status, style, said in (
        *(("skip", "dim", sentence) for sentence in report.left_out),
        *(("warn", "yellow", sentence) for sentence in report.remarks),
        *(("fail", "bold red", sentence) for sentence in report.problems),
    ):
        console.print(Text(status, style=style), Text(f" {said}"))
    console.print(verdict(report), markup=False, highlight=False)
    console.print(LOCAL, markup=False, highlight=False)


def verdict(report: DataReport) -> str:
    """What it comes to, in one sentence."""
    if report.problems:
        return f"A run would stop at this data: {_counted(len(report.problems), 'problem')}."
    if report.remarks:
        return f"A run can use this data; look into {_counted(len(report.remarks), 'remark')} before it does."
    return "A run can use this data, and nothing odd was found in it."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _drawn(table: ReportTable) -> Table:
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=table.title, title_justify="left")
    for place, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if place else "left", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn
