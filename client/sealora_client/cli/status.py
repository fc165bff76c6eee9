"""`sealora-site status`: how this site stands, one line for each thing that one wants to know."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from sealora_common.errors import PolicyError
from sealora_common.show.console import SafeConsole
from sealora_common.show.duration_text import duration_text
from sealora_common.show.say import say, say_json

if TYPE_CHECKING:
    from sealora_client.operator.at_work import AtWork
    from sealora_client.standing.standing import RunStanding, SiteStanding

_SHOWN_ID = 12
_PARTS = {"site": "model, data"}
"""How the parts of a site's process are called here, where `site` is the whole."""


def status(
    directory: Annotated[Path, typer.Argument(help="The site's directory.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, on a terminal, until Ctrl-C.")] = False,
) -> None:
    """Show whether this site runs and is connected, where its run is, what is spent and left, and what to do.

    Exit code 1 if there is anything to do. A site that is at work is not disturbed.
    """
    from sealora_client.standing.standing import site_standing

    if watch:
        watch_standing(lambda: site_standing(directory), SafeConsole())
    standing = site_standing(directory)
    if as_json:
        say_json(standing.model_dump_json(indent=2))
    else:
        for word, sentence in _lines(standing):
            say(f"{word:<11} {sentence}")
    if standing.todo:
        raise typer.Exit(1)


def watch_standing(ask: Callable[[], SiteStanding], console: Console, seconds: float = 2.0) -> NoReturn:
    """Shows it anew every so many seconds until Ctrl-C, which ends the watching and nothing else.

    Raises:
        PolicyError: there is no terminal to show it on, or there is no site.
        SystemExit: Ctrl-C.
    """
    if not console.is_terminal:
        raise PolicyError("--watch needs a terminal: leave it out, and ask again as often as you like")
    try:
        while True:
            standing = ask()
            console.clear()
            for word, sentence in _lines(standing):
                console.print(f"{word:<11} {sentence}", highlight=False, markup=False, soft_wrap=True)
            console.print("Ctrl-C ends the watching; the site goes on.", highlight=False)
            time.sleep(seconds)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _lines(standing: SiteStanding) -> Iterator[tuple[str, str]]:
    yield "site", f"{standing.site}, {'running' if standing.running else 'not running'}{_leaving(standing)}"
    for name, part in standing.parts.items():
        yield _PARTS.get(name, name), f"{'well' if part.ok else 'NOT WELL'}: {part.said}"
    if standing.running and not standing.parts:
        yield "server", "not known: the site's probes (`health` in site.yaml) do not answer here"
    yield "run", "none yet" if standing.run is None else _on_run(standing.run)
    if standing.in_hand is not None:
        yield "at work on", standing.in_hand.removeprefix("query.")
    if standing.at_work is not None:
        yield "round", _on_round(standing.at_work, standing.in_hand is not None)
    if standing.epsilon_limit is not None and standing.left is not None:
        # Never less than was spent, never more than is left.
        spent = math.ceil((standing.spent or 0.0) * 100 - 1e-9) / 100
        left = math.floor(standing.left * 100 + 1e-9) / 100
        yield "spent", f"epsilon {spent:.2f} of {standing.epsilon_limit:g} at delta {standing.delta_limit:g}"
        yield "left", f"epsilon {left:.2f}; by data set and charge: `sealora-site budget`"
    if standing.receipt is not None:
        receipt = standing.receipt
        who = f"of round {receipt.round}, with {len(receipt.survivors)} sites"
        yield "receipt", f"{who}; the adapter after it: {receipt.adapter_digest}"
    for sentence in standing.todo or ("nothing",):
        yield "to do", sentence


def _leaving(standing: SiteStanding) -> str:
    if standing.departure is None:
        return ""
    if standing.has_left:
        return "; it has left"
    return "; it leaves after this round" if standing.departure.when == "after-round" else "; it is stopping"


def _on_round(at_work: AtWork, at_it: bool) -> str:
    now = time.time()
    what = "the final evaluation" if at_work.purpose == "evaluate" else f"round {at_work.round} of {at_work.rounds}"
    doing = f"{at_work.stage}{'' if at_it else ' is done, the other sites are waited for'}"
    left = at_work.round_seconds_left(now)
    more = "" if left is None else f"; the round takes about {duration_text(left)} more"
    return f"{what}: {doing}; since {duration_text(now - at_work.stage_began)}{more}"


def _on_run(run: RunStanding) -> str:
    where = f"{run.run[:_SHOWN_ID]} ({run.recipe}), {run.receipts} of {run.rounds} rounds have a receipt"
    if run.evaluated:
        return f"{where}; over: this site has no part in it any more"
    at = "" if run.working_on is None else f"; last worked on round {run.working_on}"
    left = "" if run.seconds_left is None else f"; about {duration_text(run.seconds_left)} more"
    return f"{where}{at}{left}"
