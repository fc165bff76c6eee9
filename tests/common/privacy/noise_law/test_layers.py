"""A part of the layers alone: which parts there are, what noise leaves in each, and from which share on that pays."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.adapter import AdapterLayout, TensorSpec, adapter_kind
from sealora_common.privacy.noise_law import AGREEMENT, outlook, step_noise, worth
from sealora_common.privacy.noise_law.layers import layers_alone
from sealora_common.recipe import load_recipe

DEMO = Path(__file__).parents[4] / "configs" / "demo-icd10-distributed.yaml"
UNITS, NAMES = (2597, 2125, 3193), ("a", "b", "c")
RANK = 8
PROJECTIONS = {"q_proj": 576, "k_proj": 192, "v_proj": 192, "o_proj": 576, "gate_proj": 1536, "down_proj": 576}
STEP = step_noise(load_recipe(DEMO), UNITS)


def layout_of(recipe) -> AdapterLayout:
    """Two blocks of `PROJECTIONS`, each with what the recipe's kind keeps on a layer."""
    tensors = []
    for block in range(2):
        for name, features in PROJECTIONS.items():
            shapes = {"lora_A": (RANK, 576), "lora_B": (features, RANK), "lora_core": (RANK, RANK)}
            for tensor in adapter_kind(recipe).tensor_names(f"base_model.model.model.layers.{block}.self_attn.{name}"):
                (shape,) = [shape for part, shape in shapes.items() if f".{part}." in tensor] or [(features,)]
                tensors.append(TensorSpec(tensor, shape))
    return AdapterLayout(tuple(tensors))


def test_each_part_has_the_numbers_of_all_its_layers_and_the_smallest_stands_first():
    recipe = load_recipe(DEMO)
    found = outlook(recipe, UNITS, NAMES, layout_of(recipe)).layers
    assert [part.name for part in found] == ["k_proj", "v_proj", "down_proj", "o_proj", "q_proj", "gate_proj"]
    assert {part.name: part.parameters for part in found} == {
        name: 2 * RANK * features for name, features in PROJECTIONS.items()
    }


def test_a_part_is_worth_what_the_recipe_is_that_trains_it_alone():
    recipe = load_recipe(DEMO)
    whole = outlook(recipe, UNITS, NAMES, layout_of(recipe))
    part = next(part for part in whole.layers if part.name == "v_proj")
    alone = outlook(recipe, UNITS, NAMES, 2 * RANK * PROJECTIONS["v_proj"])
    assert part.worth == alone.own.worth
    assert part.pays_from == whole.own.worth / alone.own.worth


@given(shares=st.lists(st.integers(1, 10**7), min_size=2, max_size=6))
def test_at_the_share_that_pays_both_runs_lower_the_loss_as_far(shares):
    """A step along part of the gradient lowers it by that part's share of the squared length, at its best rate."""
    layout = AdapterLayout(tuple(TensorSpec(f"m.{n}.lora_B.weight", (size,)) for n, size in enumerate(shares)))
    found = layers_alone(STEP, [layout], layout.size)
    assert sum(part.parameters for part in found) == layout.size
    for part in found:
        assert part.pays_from * part.worth == pytest.approx(worth(STEP, layout.size, AGREEMENT))
        assert part.parameters / layout.size <= part.pays_from * (1 + 1e-12)
        assert part.pays_from <= 1


def test_where_noise_outweighs_all_a_part_pays_from_its_share_of_the_numbers_on():
    """Then it is where gradients are longer a coordinate than they are elsewhere."""
    layout = AdapterLayout((TensorSpec("m.a.lora_B.weight", (10**14,)), TensorSpec("m.b.lora_B.weight", (3 * 10**14,))))
    a, b = layers_alone(STEP, [layout], layout.size)
    assert math.isclose(a.pays_from, 1 / 4, rel_tol=1e-4)
    assert math.isclose(b.pays_from, 3 / 4, rel_tol=1e-4)


@pytest.mark.parametrize("kind", ["lora", "dora", "core"])
def test_of_every_kind_that_sits_on_linear_layers(kind):
    recipe = load_recipe(DEMO, [f"adapter={kind}"])
    found = outlook(recipe, UNITS, NAMES, layout_of(recipe))
    assert {part.name for part in found.layers} == set(PROJECTIONS)
    assert sum(part.parameters for part in found.layers) == found.parameters


def test_where_matrices_take_turns_the_larger_one_counts():
    recipe = load_recipe(DEMO, ["lora.aggregation=alternating", "server.optimizer=fedavg"])
    sizes = {part.name: part.parameters for part in outlook(recipe, UNITS, NAMES, layout_of(recipe)).layers}
    assert sizes["v_proj"] == 2 * RANK * 576  # its A
    assert sizes["gate_proj"] == 2 * RANK * 1536  # its B


def test_there_is_nothing_to_tell_of_one_part_without_noise_or_without_names():
    recipe = load_recipe(DEMO)
    one = AdapterLayout(
        (TensorSpec("m.0.v_proj.lora_B.weight", (4, 2)), TensorSpec("m.1.v_proj.lora_B.weight", (4, 2)))
    )
    assert outlook(recipe, UNITS, NAMES, one).layers == ()
    assert outlook(recipe, UNITS, NAMES, 1_244_160).layers == ()
    assert outlook(recipe, UNITS, NAMES).layers == ()
    open_one = load_recipe(DEMO, ["privacy.mechanism=none", "privacy.spare_rounds=0"])
    assert outlook(open_one, UNITS, NAMES, layout_of(open_one)).layers == ()
    norms = AdapterLayout(tuple(TensorSpec(f"m.{n}.input_layernorm.weight", (4,)) for n in range(2)))
    assert layers_alone(STEP, [norms], norms.size) == ()
