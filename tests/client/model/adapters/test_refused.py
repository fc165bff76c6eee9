"""Recipes whose kind of adapter a base model has no place for: refused with the field and what to do."""

from __future__ import annotations

import shutil

import pytest
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, OlmoConfig

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.adapters.norms import normalisations
from sealora_client.model.adapters.prompt_tuning import PromptTuningAttachment
from sealora_common.errors import ModelError, RecipeError
from sealora_common.recipe import ModelSection, parse_recipe
from sealora_common.recipe.sections.adapters.prompt_tuning import PromptTuningSection

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
    "adapter: full, training: {weight_decay: 0.1}": "set it to 0, or full.normalisations to false",
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


@pytest.mark.parametrize("full", ["normalisations: false", "target_modules: [q_proj]"])
def test_whole_weights_alone_may_decay_to_the_base_model(full):
    decay = "training: {weight_decay: 0.1}"
    parse_recipe(f"{{name: a, rounds: 1, model: {{base: x}}, adapter: full, full: {{{full}}}, {decay}}}")


def test_a_base_model_that_peft_has_no_names_for_is_refused(tiny_base):
    recipe = recipe_for(tiny_base("rwkv"), adapter="ia3", model={"attention": "eager"})
    with pytest.raises(ModelError, match=r"PEFT has no names for a base model of the kind rwkv: name the layers there"):
        AdaptedModel.load(recipe)


def test_a_base_model_that_normalises_without_weights_is_refused():
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    model = AutoModelForCausalLM.from_config(OlmoConfig(vocab_size=384, **sizes))
    with pytest.raises(ModelError, match=r"layer_norm: the base model normalises without a weight"):
        normalisations(model, "layer_norm", "all")


def small_gpt2():
    sizes = {"n_embd": 64, "n_layer": 1, "n_head": 4, "n_positions": 384}
    return AutoModelForCausalLM.from_config(GPT2Config(vocab_size=384, **sizes))


def test_virtual_tokens_stand_beside_a_plain_embedding_of_tokens_alone():
    attachment = PromptTuningAttachment(PromptTuningSection(), ModelSection(base="x"))
    model = small_gpt2()
    model.set_input_embeddings(nn.EmbeddingBag(384, 64))
    with pytest.raises(ModelError, match="prompt_tuning: the base model has no plain embedding of tokens"):
        attachment.attach(model)
    model = small_gpt2()
    modules = model.transformer._modules
    modules["wte"] = modules.pop("wte")  # after the embedding of positions, of which there are as many
    with pytest.raises(ModelError, match="prompt_tuning: PEFT takes another part of the base model for its embedding"):
        attachment.attach(model)
