"""A recipe's text with other values in it, and otherwise as it was written, comments and all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sealora_common.config import with_value
from sealora_common.errors import RecipeError, UnreadableError
from sealora_common.recipe.load import override_of, parse_recipe
from sealora_common.recipe.schema import Recipe

Scalar = bool | int | float | str | None
FieldValue = Scalar | list[Scalar]
"""A field's value, of those that are no mappings and no lists of lists."""


def recipe_text_with(
    text: str, wanted: Recipe, values: Mapping[str, FieldValue], overrides: Iterable[str] = ()
) -> str | None:
    """The text with these values, which is read as `wanted`; None if that takes more than putting them in.

    Args:
        text: a recipe's.
        wanted: the recipe that it is to be afterwards.
        values: by their dotted fields.
        overrides: `key.path=value`, put in before the values.
    """
    try:
        for override in overrides:
            path, value = override_of(override)
            text = with_value(text, path, value)
        for field, wished in values.items():
            text = with_value(text, field.split("."), [*wished] if isinstance(wished, list) else wished)
        return text if parse_recipe(text) == wanted else None
    except (RecipeError, UnreadableError):
        return None
