"""What every kind of adapter keeps to, whatever it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from sealora_common.adapter import AdapterLayout, TensorSpec, adapter_kind
from sealora_common.recipe import Recipe, parse_recipe
from sealora_common.recipe.sections.adapter import MULTIPLYING, SECTION_OF_KIND, AdapterKindName

KINDS = get_args(AdapterKindName)
DOCUMENT = (Path(__file__).parents[3] / "docs" / "adapters.md").read_text(encoding="utf-8")
SHAPES = {
    ".lora_A.weight": (2, 6),
    ".lora_B.weight": (4, 2),
    ".lora_B.bias": (4,),
    ".lora_core.weight": (2, 2),
    ".lora_magnitude_vector": (4,),
    ".ia3_l": (4, 1),
    ".ln_tuning_layers.weight": (4,),
    ".ln_tuning_layers.bias": (4,),
    "prompt_embeddings": (3, 6),
}
OF_BASE = (".lora_magnitude_vector", ".ln_tuning_layers.weight", ".ln_tuning_layers.bias")


def recipe_of(kind: str) -> Recipe:
    return parse_recipe(f"{{name: a, rounds: 4, model: {{base: x}}, adapter: {kind}}}")


def layout_of(kind: str) -> AdapterLayout:
    """Of the kind's tensors on two modules, as a site would lay them out."""
    names = sorted({name for m in "ab" for name in adapter_kind(recipe_of(kind)).tensor_names(f"base_model.model.{m}")})
    if kind == "full":  # a layer has the one or the other, as it is tall or wide
        names = [name for name in names if ("a.lora_B" in name) or ("b.lora_A" in name)]
    specs = []
    for name in names:
        suffix = next(suffix for suffix in SHAPES if name.endswith(suffix))
        shape = SHAPES[suffix]
        values = np.full(shape, 1.25, dtype="<f4").tobytes() if suffix in OF_BASE else None
        specs.append(TensorSpec(name, shape, values))
    return AdapterLayout(tuple(specs))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_s_first_values_are_there_for_every_tensor_and_the_same_each_time(kind):
    layout = layout_of(kind)
    first, again = (adapter_kind(recipe_of(kind)).initial(layout) for _ in range(2))
    assert {name: value.shape for name, value in first.items()} == {spec.name: spec.shape for spec in layout.tensors}
    assert all(value.dtype == np.float32 for value in first.values())
    assert all(first[name].tobytes() == again[name].tobytes() for name in layout.names)


@pytest.mark.parametrize("kind", KINDS)
def test_what_travels_is_all_that_any_round_trains_in_the_order_of_the_layout(kind):
    layout, asked = layout_of(kind), adapter_kind(recipe_of(kind))
    shared = asked.shared(layout)
    trained = {name for number in range(1, 5) for name in asked.trained(layout, number).names}
    assert trained == set(shared.names)
    assert shared.tensors == tuple(spec for spec in layout.tensors if spec.name in trained)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_published_holds_what_travels_as_it_is(kind):
    layout, asked = layout_of(kind), adapter_kind(recipe_of(kind))
    tensors = asked.initial(layout)
    shared = asked.shared(layout).names
    tensors |= {name: np.full_like(tensors[name], 0.5) for name in shared}
    published = asked.published(tensors)
    assert all(published[name].tobytes() == tensors[name].tobytes() for name in shared)
    assert published.keys() >= tensors.keys()
    held = asked.held(published)
    assert {name: value.tobytes() for name, value in held.items()} == {n: v.tobytes() for n, v in tensors.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_begin_with_zero_alone_can_decay(kind):
    tensors = adapter_kind(recipe_of(kind)).initial(layout_of(kind))
    shared = adapter_kind(recipe_of(kind)).shared(layout_of(kind)).names
    begins_with_zero = not any(tensors[name].any() for name in shared)
    assert begins_with_zero or kind in MULTIPLYING or kind == "prompt_tuning"
    assert not (begins_with_zero and kind in MULTIPLYING)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_section_and_a_row_in_the_document(kind):
    section = SECTION_OF_KIND[kind]
    assert section in Recipe.model_fields
    assert f"| `{kind}` | `{section}` |" in DOCUMENT
    published = adapter_kind(recipe_of(kind)).peft_configuration(recipe_of(kind).model, layout_of(kind))
    row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{kind}` |"))
    assert f"`{published.peft_type}`" in row
