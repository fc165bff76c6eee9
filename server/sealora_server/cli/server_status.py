"""What `sealora server status` shows of a server, its sites and its runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.table import Table

from sealora_common.show.console import keep_rows_whole
from sealora_common.show.safe_text import safe_text
from sealora_server.deployment.errors import DeploymentError

if TYPE_CHECKING:
    from sealora_server.deployment.operator.messages import Status


def show_status(status: Status, console: Console) -> None:
    """Shows all of it: lines, then tables of processes, sites and runs."""

    def line(name: str, value: str) -> None:
        console.print(f"{name:<12} {value}", highlight=False, markup=False, soft_wrap=True)

    line("address", f"{status.address or 'your own front'} (as {', '.join(status.hosts)})")
    if not status.up:
        line("WARNING", "the server is starting: sites cannot connect yet")
    line("receipts", f"signed by the key {status.server_key}")
    line("certificate", f"until {status.certificate_expires}")
    line("tls", status.tls)
    line("health", status.health or "not served")
    for warning in status.warnings:
        line("WARNING", warning)
    keep_rows_whole(console)
    processes = _table("process", "pid", "up for", "restarts")
    for process in status.processes:
        pid = str(process.pid) if process.pid else "down"
        processes.add_row(process.name, pid, f"{process.seconds:.0f} s", str(process.restarts))
    console.print(processes)
    sites = _table("site", "connected")
    for site in status.sites:
        sites.add_row(site.name, "yes" if site.online else "no")
    console.print(sites)
    runs = _table("run", "condition", "rounds", "", "waits for")
    for run in status.runs:
        rounds = f"{run.finished_rounds} of {run.rounds}"
        runs.add_row(run.name, run.condition, rounds, run.said, ", ".join(run.waiting_for))
    console.print(runs)
    for run in status.runs:
        for away in run.turned_away:
            line("no part", f"{safe_text(away.name)} in run {run.name}: {safe_text(away.reason)}")


def watch_status(ask: Callable[[], Status], console: Console, seconds: float = 2.0) -> NoReturn:
    """Shows the status anew every so many seconds until Ctrl-C, which ends the watching and nothing else.

    Raises:
        DeploymentError: there is no terminal to show it on, or the server does not answer.
        SystemExit: Ctrl-C.
    """
    if not console.is_terminal:
        raise DeploymentError("--watch needs a terminal: leave it out, and ask again as often as you like")
    try:
        while True:
            status = ask()
            console.clear()
            show_status(status, console)
            console.print("Ctrl-C ends the watching; the server goes on.", highlight=False)
            time.sleep(seconds)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _table(*headings: str) -> Table:
    """A table of which nothing is cut off, however narrow the terminal: names and figures are there to be compared."""
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
