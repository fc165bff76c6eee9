"""Which recipes share one loaded model: those that differ in nothing but what is named here as harmless."""

from __future__ import annotations

from typing import Final

from sealora_common.canonical import canonical_json
from sealora_common.recipe import Recipe

HARMLESS: Final[dict[str, bool | dict[str, bool]]] = {
    # What the run is called, how long it is, and who takes part.
    "name": True,
    "rounds": True,
    "sites": True,
    # With which values it begins, which are written into the model.
    "continue_from": True,
    # What is done with the model, round by round: nothing of it stays in there.
    "data": True,
    "objective": True,
    "evaluation": True,
    "training": True,
    "privacy": True,
    "sealing": True,
    "server": True,
    # Where the base model was found, and what it had to be: the digest of what was found is in the key.
    "model": {"base": True, "digest": True},
    # Which tensors are trained, and where they begin: whoever uses the model says the one and writes the other first.
    "lora": {"aggregation": True, "seed": True},
}
"""Sections and fields of a recipe that a loaded model does not depend on. All others are in its key, also those that a
later version adds: one that is forgotten here loads a model too many, and never shares a wrong one."""


def sharing_key(recipe: Recipe, base_digest: str) -> bytes:
    """The same for recipes that one loaded model serves, and for those alone.

    Args:
        recipe: what the model is loaded for.
        base_digest: SHA-256 (hex) of the files that the base model is loaded from.
    """
    # As what it is: pydantic leaves out what a section has beyond the type that the recipe declares.
    return canonical_json([base_digest, recipe.model_dump(mode="json", exclude=HARMLESS, serialize_as_any=True)])
