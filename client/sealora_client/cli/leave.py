"""`sealora-site leave` and `return`: whether this site takes part, said to its running process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.show.say import say

Directory = Annotated[Path, typer.Argument(help="The site's directory.")]


def leave(
    directory: Directory = Path(),
    now: Annotated[bool, typer.Option("--now", help="Give up what is in hand, and stop at once.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it: without, it is said what it costs, and nothing is done.")
    ] = False,
) -> None:
    """Have the running site leave after the round that it is in, or at once, and stay away until `return`.

    It outlasts a restart. What was charged for a round is not given back.
    """
    from sealora_client.operator.departure import HOW_TO_RETURN, depart
    from sealora_client.site.config import SiteConfig
    from sealora_client.standing.leaving_cost import leaving_cost

    SiteConfig.load(directory / "site.yaml")
    if not yes:
        cost = leaving_cost(directory)
        say(cost.now if now else cost.after_round)
        say(f"nothing was done: `sealora-site leave {directory}{' --now' if now else ''} --yes` has the site leave")
        raise typer.Exit(1)
    wish = depart(directory, "now" if now else "after-round")
    when = "at once" if wish.when == "now" else "after the round that it is in"
    say(f"the site leaves {when}; {HOW_TO_RETURN}")


def take_part(directory: Directory = Path()) -> None:
    """Let a site that left take part again. A process that waits goes on by itself; else start it."""
    from sealora_client.operator.departure import take_part_again
    from sealora_client.site.config import SiteConfig
    from sealora_client.site.process_lock import LOCK
    from sealora_common.storage.lock import is_locked

    SiteConfig.load(directory / "site.yaml")
    was_away = take_part_again(directory)
    said = "the site takes part again" if was_away else "the site was not told to leave: nothing changes"
    if not is_locked(directory / LOCK):
        said += f"; it does not run: `sealora-site run --config {directory / 'site.yaml'}`"
    say(said)
