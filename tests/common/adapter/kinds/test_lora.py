"""LoRA as both sides agree on it: which matrices travel, how they begin, and what PEFT is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sealora_common.adapter import AdapterLayout, TensorSpec, adapter_kind
from sealora_common.adapter.kinds.lora import Lora
from sealora_common.recipe import parse_recipe
from sealora_common.recipe.sections.lora import LoraSection

from lora_kinds import lora

LAYOUT = AdapterLayout(
    (
        TensorSpec("base_model.model.a.lora_A.weight", (2, 8)),
        TensorSpec("base_model.model.a.lora_B.weight", (4, 2)),
        TensorSpec("base_model.model.b.lora_A.weight", (2, 3)),
        TensorSpec("base_model.model.b.lora_B.weight", (5, 2)),
    )
)
A_NAMES = (LAYOUT.names[0], LAYOUT.names[2])
B_NAMES = (LAYOUT.names[1], LAYOUT.names[3])


def test_a_layer_has_two_matrices():
    modules = ("base_model.model.a", "base_model.model.b")
    assert [name for module in modules for name in lora().tensor_names(module)] == list(LAYOUT.names)


@pytest.mark.parametrize(
    ("aggregation", "first", "second"),
    [("ffa", B_NAMES, B_NAMES), ("alternating", B_NAMES, A_NAMES), ("average", LAYOUT.names, LAYOUT.names)],
)
def test_what_is_trained_in_odd_and_even_rounds(aggregation, first, second):
    assert lora(aggregation).trained(LAYOUT, 1).names == first
    assert lora(aggregation).trained(LAYOUT, 2).names == second
    assert lora(aggregation).trained(LAYOUT, 3).names == first


@pytest.mark.parametrize("aggregation", ["ffa", "alternating", "average"])
def test_what_travels_holds_all_that_any_round_trains(aggregation):
    trained = {name for number in (1, 2) for name in lora(aggregation).trained(LAYOUT, number).names}
    assert set(lora(aggregation).shared(LAYOUT).names) == trained


# The start of every run.


def test_the_initial_adapter_does_nothing_yet():
    """B is zero, so the adapter's product is, whatever A holds."""
    tensors = lora().initial(LAYOUT)
    assert all(not tensors[name].any() for name in B_NAMES)
    assert all(tensors[name].any() for name in A_NAMES)


def test_a_lies_evenly_within_peft_s_range():
    wide = AdapterLayout((TensorSpec("m.lora_A.weight", (64, 256)),))
    (values,) = lora(seed=1).initial(wide).values()
    bound = 1 / np.sqrt(256)
    assert np.abs(values).max() <= bound
    assert np.abs(values.mean()) < 4 * bound / np.sqrt(3 * values.size)
    assert values.var() == pytest.approx(bound**2 / 3, rel=0.05)
    assert len(np.unique(values)) > 0.99 * values.size


def test_the_same_seed_gives_every_machine_the_same_bits():
    """Known answers: a site that drew another A would train another model than its peers."""
    tensors = lora(seed=7).initial(LAYOUT)
    known = [0xBCD8DDF5, 0xBE9846BE, 0xBE7FF1CB, 0x3E3C0E89]
    assert tensors[A_NAMES[0]][0, :4].view(np.uint32).tolist() == known


def test_tensors_and_seeds_draw_streams_of_their_own():
    same_shape = AdapterLayout(tuple(TensorSpec(f"m{i}.lora_A.weight", (4, 8)) for i in range(4)))
    draws = [value.tobytes() for seed in (0, 1, 2**62) for value in lora(seed=seed).initial(same_shape).values()]
    assert len(set(draws)) == 12


def test_a_tensor_s_draw_does_not_depend_on_the_others():
    alone = lora(seed=5).initial(AdapterLayout(LAYOUT.tensors[:1]))
    np.testing.assert_array_equal(alone[A_NAMES[0]], lora(seed=5).initial(LAYOUT)[A_NAMES[0]])


def test_the_recipe_s_section_settles_the_kind():
    recipe = parse_recipe("{name: tiny, rounds: 1, model: {base: x}, lora: {rank: 3, aggregation: average, seed: 9}}")
    assert adapter_kind(recipe) == Lora(LoraSection(rank=3, aggregation="average", seed=9))


def test_what_peft_is_told_keeps_its_bytes():
    """`adapter_config.json` of every round and of the published adapter, as versions before wrote it."""
    recipe = parse_recipe("{name: tiny, rounds: 1, model: {base: x, revision: abc}, lora: {alpha: 8, rank: 3}}")
    told = adapter_kind(recipe).peft_configuration(recipe.model, AdapterLayout(LAYOUT.tensors[::-1]))
    assert json.dumps(told.model_dump(mode="json")) == (
        '{"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "x", "revision": "abc", "r": 3, '
        '"lora_alpha": 8.0, "lora_dropout": 0.0, "target_modules": ["a", "b"], "bias": "none", '
        '"fan_in_fan_out": false, "inference_mode": true}'
    )
