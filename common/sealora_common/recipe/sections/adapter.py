"""The recipe's field `adapter`: which kind of adapter is trained. A kind's settings are a section of its own."""

from __future__ import annotations

from typing import Final, Literal

AdapterKindName = Literal["lora", "dora", "ia3", "bias", "layer_norm", "prompt_tuning", "core", "full"]

SECTION_OF_KIND: Final[dict[AdapterKindName, str]] = {
    "lora": "lora",
    "dora": "lora",
    "ia3": "ia3",
    "bias": "bias",
    "layer_norm": "layer_norm",
    "prompt_tuning": "prompt_tuning",
    "core": "core",
    "full": "full",
}
"""The section of the recipe that has a kind's settings. One that is no such section of the recipe's kind stays as it
is by default: what is set there would be ignored."""

MULTIPLYING: Final[frozenset[AdapterKindName]] = frozenset({"dora", "ia3", "layer_norm"})
"""Kinds whose tensors are factors of the base model's values, and do not begin with zero."""

BEGINNING_WITH_THE_BASE: Final[frozenset[AdapterKindName]] = frozenset({"dora", "layer_norm", "full"})
"""Kinds that begin with values of the base model, which the sites greet the server with, all of them the same."""
