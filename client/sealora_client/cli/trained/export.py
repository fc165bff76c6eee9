"""`sealora-site export`: a trained adapter for others, as PEFT or as a whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.show.say import say


def export(
    out: Annotated[Path, typer.Option(help="The directory that is made.")],
    run: Annotated[
        str | None,
        typer.Argument(
            help="The beginning of a run's id, its recipe's name, or a run's directory.", show_default="the newest here"
        ),
    ] = None,
    directory: Annotated[Path, typer.Option("--directory", help="The site's directory.", show_default=".")] = Path(),
    merged: Annotated[bool, typer.Option("--merged", help="A whole model, with the adapter merged into it.")] = False,
    base: Annotated[
        str | None, typer.Option(help="The name under which others know the base model.", show_default="the recipe's")
    ] = None,
    licence: Annotated[str, typer.Option("--license", help="Identifier of the licence, for the card.")] = "other",
) -> None:
    """Write a trained adapter for others: PEFT with tokenizer, card and licence, or, merged, a whole model.

    It leaves nothing of this site in it but what the federation's adapter is. docs/model.md says what may leave.
    """
    from sealora_client.trained.offline import stay_offline

    stay_offline()
    from sealora_client.trained.hand_on import HandOn, hand_on
    from sealora_client.trained.trained_adapter import find_trained

    trained = find_trained(run, directory)
    hand_on(trained, HandOn(out, merged, base, licence))
    form = "a whole model for transformers" if merged else "an adapter for PEFT"
    say(f"{out}: {form}: {trained.sentence}; README.md says what ran and what it promises")
