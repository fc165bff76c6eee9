"""Recipes, from a file, from a mapping, or from one that is there."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel

from sealora.arguments import PathText, path
from sealora.at_work import in_words_of_python
from sealora_common import recipe as recipes
from sealora_common.errors import SealoraError
from sealora_common.recipe import Recipe

RecipeLike: TypeAlias = Recipe | PathText | Mapping[str, object]
"""A recipe, the path of one in YAML, or its sections as a mapping."""


def load_recipe(recipe: RecipeLike, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Loads a recipe, and changes fields of it.

    Args:
        recipe: the path of a YAML file (see configs/), a mapping of its sections, or a recipe.
        overrides: what is different: `{"privacy.epsilon": 4, "rounds": 2}`.

    Raises:
        SealoraError: there is no such file, a field is unknown, or a value is out of range.
    """
    changes = {} if overrides is None else _changes(overrides)
    with in_words_of_python():
        if isinstance(recipe, Recipe):
            return recipes.recipe_of(recipe.model_dump(mode="json"), overrides=changes) if changes else recipe
        if isinstance(recipe, Mapping):
            return recipes.recipe_of(_plain_mapping("recipe", recipe), overrides=changes)
        if isinstance(recipe, str | PathLike):
            return recipes.load_recipe(path("recipe", recipe), changes)
    raise SealoraError(
        f"recipe is a {type(recipe).__name__}: give the path of a YAML file, a mapping of its sections, or a Recipe"
    )


def _changes(overrides: Mapping[str, object]) -> dict[str, object]:
    if not isinstance(overrides, Mapping):
        raise SealoraError(f"overrides is a {type(overrides).__name__}: give a mapping, as in {{'privacy.epsilon': 4}}")
    return _plain_mapping("overrides", overrides)


def _plain_mapping(where: str, values: Mapping[str, object]) -> dict[str, object]:
    for name in values:
        if not isinstance(name, str):
            raise SealoraError(f"{where} has the key {name!r}, and fields are named by text: write it as text")
    return {name: _plain(f"{where}.{name}", value) for name, value in values.items()}


def _plain(where: str, value: object) -> object:
    """The value as YAML would give it: what a notebook holds besides is a path, a section, or a number of NumPy's."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return _plain_mapping(where, value)
    if isinstance(value, list | tuple):
        return [_plain(where, each) for each in value]
    if isinstance(value, Path):
        return str(value)
    item = getattr(value, "item", None) if type(value).__module__ == "numpy" else None
    return item() if callable(item) else value
