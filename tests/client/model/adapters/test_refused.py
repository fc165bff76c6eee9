"""Recipes whose kind of adapter a base model has no place for: refused with the field and what to do."""

from __future__ import annotations

import shutil

import pytest
from safetensors.torch import load_file, save_file

from sealora_client.model.adapted import AdaptedModel
from sealora_common.errors import ModelError, RecipeError
from sealora_common.recipe import parse_recipe

from single_examples import recipe_for

REFUSED = {
    "no biases": (
        "llama",
        {"adapter": "bias"},
        r"bias\.target_modules: of the base model's linear layers .*q_proj.* have no bias to train: name layers that",
    ),
    "a layer without a bias": (
        "qwen2",
        {"adapter": "bias", "bias": {"target_modules": ["q_proj", "o_proj"]}},
        r"linear layers o_proj have no bias to train",
    ),
    "fed forward and not scaled": (
        "llama",
        {"adapter": "ia3", "ia3": {"target_modules": ["k_proj"], "feedforward_modules": ["down_proj"]}},
        r"ia3\.feedforward_modules: down_proj is none of ia3\.target_modules in those layers: name it there too",
    ),
    "no such normalisation": (
        "llama",
        {"adapter": "layer_norm", "layer_norm": {"target_modules": ["ln_1"]}},
        r"no normalisation 'ln_1': choose from input_layernorm, norm, post_attention_layernorm, or write all",
    ),
    "a rank too high": (
        "llama",
        {"adapter": "core", "core": {"rank": 33}},
        r"core\.rank is 33, but .*k_proj of the base model has 32 features: lower it, or name other modules",
    ),
    "a layer too many": (
        "llama",
        {"adapter": "ia3", "ia3": {"layers": [2]}},
        r"ia3\.layers names layer 2, but the base model's are 0 to 1: name those",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_base_model_has_no_place_for_is_refused(tiny_base, case):
    base, changes, said = REFUSED[case]
    with pytest.raises(ModelError, match=said):
        AdaptedModel.load(recipe_for(tiny_base(base), **changes))


UNFIT = {
    "adapter: ia3, lora: {rank: 4}": "lora is set, but the recipe's adapter is ia3, which reads ia3 alone: remove the",
    "ia3: {last_layers: 1}": "ia3 is set, but the recipe's adapter is lora, which reads lora alone: .* adapter: ia3",
    "lora: {last_layers: 1, layers: [0]}": "last_layers and layers both choose layers: leave one of them out",
    "lora: {layers: [0, 0]}": "layers names a layer twice",
    "adapter: ia3, ia3: {target_modules: [k_proj]}": "both auto, or both named",
    "adapter: ia3, training: {weight_decay: 0.1}": "training.weight_decay pulls to zero, where an adapter of the kind",
    "adapter: dora, lora: {dropout: 0.1}": "lora.dropout is no part of adapter: dora here",
    "adapter: dora, training: {weight_decay: 0.1}": "where an adapter of the kind dora lets nothing",
    "adapter: qlora": "adapter",
}


@pytest.mark.parametrize("fields", UNFIT)
def test_fields_that_do_not_go_together_are_refused(fields):
    with pytest.raises(RecipeError, match=UNFIT[fields]):
        parse_recipe(f"{{name: a, rounds: 1, model: {{base: x}}, {fields}}}")


def test_a_section_of_another_kind_may_say_what_it_is_by_default():
    parse_recipe("{name: a, rounds: 1, model: {base: x}, adapter: ia3, lora: {rank: 8}}")


def test_layers_of_the_numbers_that_a_recipe_names_get_an_adapter(tiny_base):
    for adapter, section in (("lora", "lora"), ("ia3", "ia3")):
        model = AdaptedModel.load(recipe_for(tiny_base(), adapter=adapter, **{section: {"layers": [1]}}))
        assert all(".layers.1." in name for name in model.layout.names)


def test_rows_of_zeros_have_no_direction_for_dora(tiny_base, tmp_path):
    base = shutil.copytree(tiny_base(), tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    tensors["model.layers.0.self_attn.q_proj.weight"][3] = 0
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"q_proj of the base model has rows of zeros, which have no direction"):
        AdaptedModel.load(recipe_for(base, adapter="dora"))
    AdaptedModel.load(recipe_for(base, adapter="dora", lora={"target_modules": ["v_proj"]}))
