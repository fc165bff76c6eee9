"""Which fields of a recipe may be searched, and of the others why not.

A field may be searched if it changes how the adapter is learned and nothing else: not what is promised, nor whose
records they are, nor what the figure measures that trials are compared by.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sealora_common.errors import RecipeError
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.adapter import SECTION_OF_KIND

SEARCHED: Final = frozenset({"rounds", "adapter", *SECTION_OF_KIND.values(), "training", "privacy", "server"})
"""Sections and fields of the whole recipe in which anything may be searched, but for what `WHY_NOT` names."""
OF_THE_ADAPTER: Final = frozenset({"adapter", *SECTION_OF_KIND.values()})
"""Those that the model is loaded for."""

_PROMISE: Final = "it changes what is promised to those whose records they are"
_JUDGE: Final = "it changes what is measured, so that figures of two trials could not be compared"
_LUCK: Final = "it is luck and no setting: what it gains is gone in the next run"

WHY_NOT: Final[Mapping[str, str]] = {
    "name": "it is a name",
    "continue_from": "it says with which adapter the run begins",
    "model": "the base model is what the sites agreed on",
    "data": "it changes the records, and trials are compared on the same ones",
    "objective": _JUDGE,
    "evaluation": _JUDGE,
    "sealing": "it changes what the seal promises",
    "sites": "it changes who takes part",
    "privacy.mechanism": _PROMISE,
    "privacy.epsilon": _PROMISE,
    "privacy.delta": _PROMISE,
    "privacy.spare_rounds": _PROMISE,
    "privacy.honest_survivors": _PROMISE,
    "privacy.heldout_clip": _JUDGE,
    "privacy.records_per_person": "it changes which of a person's records are evaluated",
    "training.epochs": "it is compared with the other fields and changes nothing",
    "training.micro_batch_size": "it changes memory and time, and nothing that is learned",
    "training.seed": _LUCK,
    "lora.seed": _LUCK,
    "training.evaluate_every": _JUDGE,
}
"""Sections, or fields of them, that may not be searched, each with why."""


def field_of(path: str, recipe: Recipe) -> FieldInfo:
    """The field of a recipe with this dotted path, which may be searched.

    Raises:
        RecipeError: there is no such field, it may not be searched, or the recipe lacks the section that it is in.
    """
    kind: type[BaseModel] = Recipe
    value: object = recipe
    keys = path.split(".")
    for place, key in enumerate(keys):
        so_far = ".".join(keys[: place + 1])
        field = kind.model_fields.get(key)
        if field is None:
            close = difflib.get_close_matches(key, kind.model_fields, n=1)
            meant = f", did you mean {'.'.join((*keys[:place], close[0]))}?" if close else ""
            raise RecipeError(f"--search {path}: a recipe has no field {so_far}{meant}: docs/recipe.md has all of them")
        if so_far in WHY_NOT:
            raise RecipeError(f"--search {path}: {so_far} may not be searched, as {WHY_NOT[so_far]}")
        if place == 0 and key not in SEARCHED:
            raise RecipeError(f"--search {path}: {so_far} is none of the sections that may be searched")
        inner = _section_of(field)
        if place == len(keys) - 1:
            if inner is not None:
                raise RecipeError(f"--search {path}: {path} is a section: search a field of it")
            return field
        value = getattr(value, key)
        if inner is None:
            raise RecipeError(f"--search {path}: {so_far} is a value and no section: shorten the path")
        if value is None:
            raise RecipeError(f"--search {path}: the recipe has no {so_far}: write it into the recipe first")
        kind = inner
    raise AssertionError("a path has one key or more")


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    candidates = (field.annotation, *get_args(field.annotation))
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)
