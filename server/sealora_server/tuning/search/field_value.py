"""Values that fields of a recipe are tried at, as JSON has them, and how they are put into a recipe."""

from __future__ import annotations

from collections.abc import Mapping

from sealora_common.config import JsonValue, checked
from sealora_common.errors import RecipeError, UnreadableError
from sealora_common.recipe import Recipe
from sealora_common.recipe.text import FieldValue


def with_values(recipe: Recipe, values: Mapping[str, FieldValue]) -> Recipe:
    """The recipe with other values of fields, by their dotted names, held to its schema as any recipe is.

    Raises:
        RecipeError: the schema refuses them together.
    """
    whole: dict[str, JsonValue] = recipe.model_dump(mode="json")
    for field, value in values.items():
        *sections, name = field.split(".")
        section = whole
        for key in sections:
            inner = section[key]
            assert isinstance(inner, dict)  # noqa: S101 (`field_of` has found a section there)
            section = inner
        section[name] = [*value] if isinstance(value, list) else value
    try:
        return checked(Recipe, whole)
    except UnreadableError as error:
        raise RecipeError(str(error)) from None


def value_of(recipe: Recipe, field: str) -> FieldValue:
    """What a recipe has in a field."""
    value: JsonValue = recipe.model_dump(mode="json")
    for key in field.split("."):
        assert isinstance(value, dict)  # noqa: S101 (likewise)
        value = value[key]
    return as_field_value(value)


def as_field_value(value: object) -> FieldValue:
    """A value that a field may be tried at.

    Raises:
        RecipeError: it is a mapping, or a list of lists.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and all(each is None or isinstance(each, bool | int | float | str) for each in value):
        return list(value)
    raise RecipeError("fields that hold mappings, or lists of lists, are not searched")
