"""The directories that runs and comparisons are given when nobody names one: new ones, whatever is there."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

from sealora_common.config import why_not
from sealora_common.errors import StorageError
from sealora_common.storage.own_files import make_directory, make_new_directory

RUNS: Final = Path("runs")
"""From the working directory, as the command has it."""


def new_place(named: Path | None, name: str) -> Path:
    """A directory with nothing in it, made if it is missing.

    Args:
        named: the one that is meant; None takes the first of runs/NAME-1, runs/NAME-2, ... that is not there.
        name: of the recipe.

    Raises:
        StorageError: there is something in it, or it could not be made.
    """
    if named is None:
        return next(place for number in itertools.count(1) if make_new_directory(place := RUNS / f"{name}-{number}"))
    if (named / "run.json").exists():
        raise StorageError(
            f"{named} holds a run already: choose another directory with out, or go on with it by resume=True"
        )
    try:
        if named.is_dir() and any(named.iterdir()):
            raise StorageError(f"{named} is not empty: choose another directory with out, or empty it")
    except OSError as error:
        raise StorageError(f"{named}: cannot be read ({why_not(error)}): choose another directory with out") from None
    make_directory(named)
    return named
