"""`all-linear` on models with layers that take no adapter: chosen so that it works, or refused by their names."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_common.errors import ModelError
from sealora_common.recipe import Recipe

from tiny_models import tiny_tokenizer

TOKENS = {"vocab_size": 384, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
MIXER = {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 64}
CONFIGURATIONS: dict[str, Any] = {
    "mixtral": lambda: transformers.MixtralConfig(num_local_experts=4, **SHAPE, **TOKENS),
    "mamba": lambda: transformers.MambaConfig(hidden_size=64, num_hidden_layers=2, state_size=8, **TOKENS),
    "falcon_h1": lambda: transformers.FalconH1Config(**MIXER, **SHAPE, **TOKENS),
    "deepseek_v3": lambda: transformers.DeepseekV3Config(
        first_k_dense_replace=1, **ROUTED, **LATENT, **SHAPE | {"num_key_value_heads": 4}, **TOKENS
    ),
}


def base_of(kind: str, directory: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(CONFIGURATIONS[kind]())
    model.to(torch.float32).save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory


def recipe_on(base: Path, **lora: Any) -> Recipe:
    model = {"base": str(base), "quantization": "none", "compute_dtype": "float32", "attention": "eager"}
    return Recipe.model_validate(
        {"name": "tiny", "rounds": 1, "model": model, "data": {"max_tokens": 64}, "lora": {"rank": 2, **lora}}
    )


def adapted_layers(model: AdaptedModel) -> set[str]:
    return {name.split(".")[-3] for name in model.layout.names}


@pytest.mark.parametrize("kind", ["mamba", "falcon_h1"])
def test_layers_whose_weight_the_model_reads_itself_get_no_adapter(kind, tmp_path):
    model = AdaptedModel.load(recipe_on(base_of(kind, tmp_path)))
    assert "in_proj" in adapted_layers(model)
    assert "out_proj" not in adapted_layers(model)
    with pytest.raises(ModelError, match=r"lora\.target_modules: the base model takes no adapter there .*out_proj"):
        AdaptedModel.load(recipe_on(tmp_path, target_modules=["out_proj"]))


def test_experts_that_are_left_without_an_adapter_are_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        recipe = recipe_on(base_of("mixtral", tmp_path))
        model = AdaptedModel.load(recipe)
    assert adapted_layers(model) == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert (
        "the experts of the base model (down_proj, gate_up_proj) get no adapter, only the layers around" in caplog.text
    )
    require_batch_invariant(model, recipe)


def test_layers_that_peft_takes_for_others_are_named_and_what_is_left_works(tmp_path):
    base = base_of("deepseek_v3", tmp_path)
    with pytest.raises(ModelError, match=r"PEFT adapts others than were asked for \(.*mlp\.experts.*\): name modules"):
        AdaptedModel.load(recipe_on(base))
    assert adapted_layers(AdaptedModel.load(recipe_on(base, target_modules=["q_b_proj", "o_proj"]))) == {
        "q_b_proj",
        "o_proj",
    }
