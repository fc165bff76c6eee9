"""`sealora export`: a run's adapter for others, as PEFT or as a whole model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sealora_common.errors import PolicyError
from sealora_common.show.say import say


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The run's directory: of a simulation, or a server's runs/NAME.")
    ],
    out: Annotated[Path, typer.Option(help="The directory that is made.")],
    merged: Annotated[bool, typer.Option("--merged", help="A whole model, with the adapter merged into it.")] = False,
    base: Annotated[
        str | None, typer.Option(help="The name under which others know the base model.", show_default="the recipe's")
    ] = None,
    licence: Annotated[str, typer.Option("--license", help="Identifier of the licence, for the card.")] = "other",
) -> None:
    """Write a run's adapter for others: PEFT with tokenizer, card and licence, or, merged, a whole model.

    It needs the base model, and so the site package, on this machine; a site does the same with `sealora-site export`.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # before libraries are loaded that would ask a model hub
    from sealora_server.simulation.sites import simulated_sites

    if not run.is_dir():
        raise PolicyError(f"{run}: there is no such directory: give a run's")
    told = simulated_sites().export(run, out, merged=merged, base_name=base, licence=licence)
    form = "a whole model for transformers" if merged else "an adapter for PEFT"
    say(f"{out}: {form}: {told}; README.md says what ran and what it promises")
