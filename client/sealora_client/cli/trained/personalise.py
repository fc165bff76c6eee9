"""`sealora-site personalise`: an adapter trained on the site's own records, for this site alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_client.cli.trained.which import RunName, SiteDirectory
from sealora_common.show.say import say

_STEPS = 50


def personalise(
    out: Annotated[Path, typer.Option(help="The directory that is made, for sealora-site chat.")],
    run: RunName = None,
    directory: SiteDirectory = Path(),
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Steps of training.")] = _STEPS,
    learning_rate: Annotated[
        float | None, typer.Option(min=1e-9, max=10, help="Of AdamW.", show_default="the recipe's, of the sites")
    ] = None,
    alone: Annotated[
        bool,
        typer.Option(
            "--alone",
            help="Begin with the untrained adapter: what this site's records teach without the federation, for "
            "sealora-site evaluate --beside.",
        ),
    ] = False,
) -> None:
    """Train an adapter on this site's own records, without privacy: for this site, and never to leave it.

    It begins with the one that a run ended with, and learns this site's ways on top of it.

    Nothing is sent anywhere, and no epsilon is spent: what is made is marked, and cannot be exported.
    """
    from sealora_client.trained.offline import stay_offline

    stay_offline()
    from sealora_client.trained.personalise import PersonalWish
    from sealora_client.trained.personalise import personalise as train_on
    from sealora_client.trained.trained_adapter import find_trained
    from sealora_common.records.heldout_figure import HeldoutFigure

    trained = find_trained(run, directory)
    say(trained.sentence)
    made = train_on(trained, PersonalWish(directory, out, steps, learning_rate, alone))
    heldout = HeldoutFigure.of(trained.recipe)
    told = f"{heldout.text(made.heldout_before)} before, {heldout.text(made.heldout_after)} after"
    say(f"{out}: {made.steps} steps on {made.units} of this site's {trained.recipe.data.unit}s; {heldout.name} {told}")
    say(f"Ask it with: sealora-site chat {out}. Remember: {made.must_not_leave}.")
