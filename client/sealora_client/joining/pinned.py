"""A recipe's text with its base model's digest in it, and otherwise as it was written, comments and all."""

from __future__ import annotations

from pathlib import Path

from sealora_client.model.fetch import locate_base
from sealora_client.model.model_files import digest_of
from sealora_common.config import CONFIGURATION, read_file, why_not
from sealora_common.errors import RecipeError, UnreadableError
from sealora_common.recipe import Recipe, parse_recipe
from sealora_common.recipe.text import recipe_text_with


def pinned_recipe(path: Path) -> tuple[str, Recipe]:
    """The text of the recipe at `path` with `model.digest` of the base model that this machine has, and the recipe.

    Raises:
        RecipeError: the file is no recipe, or its model section is written in a way that nothing can be added to.
        ModelError: the base model is not to be found.
    """
    try:
        text = read_file(path, CONFIGURATION.longest).decode("utf-8-sig")
    except (OSError, UnreadableError) as error:
        raise RecipeError(f"{path}: cannot be read ({why_not(error)}): give the path of a recipe (YAML)") from None
    except UnicodeError:
        raise RecipeError(f"{path}: not UTF-8 text: give the path of a recipe (YAML)") from None
    recipe = parse_recipe(text, where=str(path))
    digest = digest_of(locate_base(recipe.model))
    wanted = recipe.with_model_digest(digest)
    pinned = recipe_text_with(text, wanted, {"model.digest": digest})
    if pinned is not None:
        return pinned, wanted
    raise RecipeError(
        f"{path}: its section model is written so that no line can be added: add `digest: {digest}` to it by hand"
    )
