"""What a recipe's hash covers: all that is agreed on, in a form in which a field that is added later changes no hash.

The hash is SHA-256 (FIPS 180-4) of the recipe's canonical JSON (`canonical_json`). Of a field without a mark its value
is in there, a default's too: if a later version has another default, a recipe that leaves the field out has another
hash, as it has another meaning. Two marks change that:

    warmup: Annotated[int, AddedLater(0)] = 0     in the hash if it is not 0, whatever the default is by then
    simulated: Annotated[dict[str, str], NOT_AGREED]    in no hash

So a recipe has the hash that it had before the field was there as long as it means what it meant then, at an earlier
version and at this one; a recipe that means something else names the field in what is hashed, which no recipe of
before can. A field that nobody marked changes all hashes, and `tests/common/recipe/test_hash.py` says so: that is the
mistake which costs a run, and never the one by which two parties believe that they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sealora_common.canonical import canonical_json, digest
from sealora_common.config import JsonValue


@dataclass(frozen=True)
class AddedLater:
    """Marks a field that recipes of an earlier version did not have.

    It is put down once, when the field is added, and never changed: the default may change, this may not.

    Attributes:
        meant_before: how recipes that did not have the field were carried out, as JSON has the field's value (`1.0`,
            not `1`, for a float). Of a section it is what is left of it when its own marked fields mean what they
            meant before: `{}` for a section of nothing but those.
    """

    meant_before: JsonValue


@dataclass(frozen=True)
class _NotAgreed:
    pass


NOT_AGREED: Final = _NotAgreed()
"""Marks a field that the parties need not agree on."""


def agreed_hash(recipe: BaseModel) -> str:
    """SHA-256 (hex) of what the parties agree on with this recipe.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    return digest(agreed_bytes(recipe))


def agreed_bytes(recipe: BaseModel) -> bytes:
    """What is hashed: canonical JSON of what the parties agree on, for whoever wants to see it.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    return canonical_json(_agreed(recipe, recipe.model_dump(mode="json")))


def _agreed(value: object, dumped: JsonValue) -> JsonValue:
    """What is left of `dumped`, the JSON of `value`, without what its marks take out; in lists and mappings too."""
    if isinstance(value, BaseModel) and isinstance(dumped, dict):
        fields = type(value).model_fields
        left = {name: _agreed(getattr(value, name), dumped[name]) for name in fields}
        return {name: inner for name, inner in left.items() if _is_hashed(fields[name], inner)}
    if isinstance(value, list | tuple) and isinstance(dumped, list):
        return [_agreed(inner, item) for inner, item in zip(value, dumped, strict=True)]
    if isinstance(value, dict) and isinstance(dumped, dict):
        return {name: _agreed(inner, item) for (name, item), inner in zip(dumped.items(), value.values(), strict=True)}
    return dumped


def _is_hashed(field: FieldInfo, value: JsonValue) -> bool:
    for mark in field.metadata:
        if isinstance(mark, AddedLater):
            # As bytes: Python takes 0, 0.0 and False for one.
            return canonical_json(value) != canonical_json(mark.meant_before)
        if isinstance(mark, _NotAgreed):
            return False
    return True
