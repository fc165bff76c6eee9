"""Whole weights: what is published is the whole change, and what stays is said."""

from __future__ import annotations

import logging

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from sealora_client.model.adapted import AdaptedModel
from sealora_common.export.choice import exporter_of

from adapter_kinds import made_up_adapter
from single_examples import recipe_for


@pytest.mark.parametrize("base", ["llama", "gpt2"])
def test_merged_by_plain_peft_it_is_a_whole_model_whose_weights_are_the_base_s_and_the_change(
    tiny_base, tmp_path, base
):
    recipe = recipe_for(tiny_base(base), adapter="full")
    model = AdaptedModel.load(recipe)
    change = made_up_adapter(model, recipe)
    exporter_of(recipe).export(tmp_path, change, recipe)

    before = AutoModelForCausalLM.from_pretrained(tiny_base(base), dtype=torch.float32).state_dict()
    plain = AutoModelForCausalLM.from_pretrained(tiny_base(base), dtype=torch.float32)
    after = PeftModel.from_pretrained(plain, str(tmp_path)).merge_and_unload().state_dict()
    assert before.keys() == after.keys()
    changes = {
        name.removeprefix("base_model.model.").rsplit(".", 2)[0] + ".weight": value
        for name, value in change.items()
        if ".lora_" in name
    }
    for name, value in before.items():
        if f"base_model.model.{name}" in change:
            assert torch.equal(after[name], torch.from_numpy(change[f"base_model.model.{name}"])), name
            continue
        by = torch.from_numpy(changes[name]) if name in changes else torch.zeros_like(value)
        expected = value + (by.T if base == "gpt2" and name in changes else by)
        assert torch.allclose(after[name], expected, rtol=1e-6, atol=1e-6), name
    assert {name for name in change if "norm" in name or ".ln_" in name}


def test_what_stays_as_it_is_is_said(tiny_base, caplog):
    with caplog.at_level(logging.WARNING):
        AdaptedModel.load(recipe_for(tiny_base("qwen2"), adapter="full", full={"target_modules": ["q_proj", "o_proj"]}))
    (said,) = [record.getMessage() for record in caplog.records if "adapter: full" in record.getMessage()]
    for stays in ("embed_tokens.weight", "lm_head.weight", "norm.weight", "q_proj.bias", "up_proj.weight"):
        assert stays in said
    assert "q_proj.weight" not in said
    assert "o_proj.weight" not in said
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        AdaptedModel.load(recipe_for(tiny_base("llama"), adapter="full"))
    (said,) = [record.getMessage() for record in caplog.records if "adapter: full" in record.getMessage()]
    assert said.endswith("stay as they are: embed_tokens.weight, lm_head.weight")
