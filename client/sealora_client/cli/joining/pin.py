"""`sealora-site model pin`: a recipe that says which base model it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealora_common.errors import StorageError
from sealora_common.show.say import say
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.own_files import PUBLIC_FILE


def pin(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML).")],
    out: Annotated[Path, typer.Argument(metavar="NEW_RECIPE", help="Where the pinned one goes.")],
) -> None:
    """Write a recipe with the SHA-256 of its base model in it (model.digest), so that all sites have the same one.

    Run it on a machine that has the base model. All else stays as it is written, comments too.
    """
    from sealora_client.joining.pinned import pinned_recipe

    if out.exists() and not out.samefile(recipe):
        raise StorageError(f"{out} exists: choose another name, or move it away")
    text, pinned = pinned_recipe(recipe)
    write_atomically(out, text.encode(), mode=PUBLIC_FILE)
    say(f"{out}: {pinned.name}, for the base model {pinned.model.digest}")
    say(f"Its hash, by which the parties know it: {pinned.hash}")
