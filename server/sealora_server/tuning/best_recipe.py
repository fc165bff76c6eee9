"""The recipe that won, as a file that can be handed on: the text that was given, with the values of the best trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from sealora_common.config import CONFIGURATION, read_file
from sealora_common.errors import UnreadableError
from sealora_common.recipe import Recipe
from sealora_common.recipe.text import FieldValue, recipe_text_with

_WHOLE = "# Written out whole: the lines of the recipe that was tuned could not be kept with other values in them.\n"


def best_recipe_text(path: Path, overrides: Sequence[str], values: Mapping[str, FieldValue], wanted: Recipe) -> str:
    """The text of a recipe that is read as `wanted`.

    Args:
        path: the recipe that was tuned, whose comments are kept if nothing more than single values is replaced.
        overrides: that it was tuned with.
        values: of the best trial, by their dotted fields.
        wanted: the recipe that won.
    """
    try:
        text = read_file(path, CONFIGURATION.longest).decode("utf-8-sig")
    except (OSError, UnreadableError, UnicodeError):
        text = ""
    found = recipe_text_with(text, wanted, values, overrides)
    if found is not None:
        return found
    return _WHOLE + yaml.safe_dump(wanted.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
