"""The kinds of adapter that a recipe can ask for, as small as tests want them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quick_cases import quick_cases
from sealora_client.model.adapted import AdaptedModel
from sealora_common.adapter import Tensors, adapter_kind
from sealora_common.recipe import Recipe

from tiny_models import KINDS as TINY

KINDS: dict[str, dict[str, Any]] = {
    "lora, sqrt_rank": {"lora": {"rank": 4, "scaling": "sqrt_rank", "layers": (1,)}},
    "dora": {"adapter": "dora", "lora": {"rank": 4, "alpha": 4.0}},
    "dora, average": {"adapter": "dora", "lora": {"rank": 2, "aggregation": "average", "scaling": "sqrt_rank"}},
    "core": {"adapter": "core", "core": {"rank": 8, "alpha": 8.0}},
    "full": {"adapter": "full"},
    "full, last layer's linear": {"adapter": "full", "full": {"last_layers": 1, "normalisations": False}},
    "ia3": {"adapter": "ia3"},
    "ia3, last layer": {"adapter": "ia3", "ia3": {"last_layers": 1}},
    "bias": {"adapter": "bias"},
    "layer_norm": {"adapter": "layer_norm"},
    "prompt_tuning": {"adapter": "prompt_tuning", "prompt_tuning": {"virtual_tokens": 5}},
}
"""Name of a case -> what it has in a recipe."""

BASES = {"bias": ("qwen2", "gpt2")}
"""Of the cases that are not for every tiny base: for which they are."""

ON_BASES = [
    pytest.param(kind, base, marks=() if base == BASES.get(kind, TINY)[0] else pytest.mark.slow)
    for kind in KINDS
    for base in BASES.get(kind, TINY)
]
"""(case, tiny base). All bases but one of each case are slow: they are some hundred tests."""
ON_ONE_BASE = [(kind, BASES.get(kind, TINY)[0]) for kind in KINDS]
"""(case, tiny base)."""

FEW = quick_cases(ON_ONE_BASE, ("dora", "llama"), ("core", "llama"), ("prompt_tuning", "llama"))
"""The same, for tests that take long of each: all but one of a factor, one of a core and one of a prompt are slow."""


def made_up_adapter(model: AdaptedModel, recipe: Recipe, std: float = 0.1, seed: int = 1) -> Tensors:
    """Values about those a run starts with, at which every tensor has a part in the loss; equal for equal models."""
    generator = np.random.default_rng(seed)
    initial = adapter_kind(recipe).initial(model.layout)
    return {name: (value + generator.normal(0, std, value.shape)).astype(np.float32) for name, value in initial.items()}
