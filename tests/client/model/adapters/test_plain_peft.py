"""What a run publishes is what plain PEFT loads: the same tensors by name, and the same loss."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from torch.nn import functional
from transformers import AutoModelForCausalLM

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import collate, response_losses
from sealora_common.adapter import adapter_kind
from sealora_common.export.choice import exporter_of
from sealora_common.export.peft_directory import read_tensors

from adapter_kinds import KINDS, ON_BASES, made_up_adapter
from single_examples import random_examples, recipe_for


def loss_with_plain_peft(model: Any, example: Any) -> float:
    """Of the example alone and unpadded."""
    tokens = torch.from_numpy(example.tokens.astype(np.int64))
    with torch.no_grad():
        logits = model(input_ids=tokens[None], attention_mask=torch.ones_like(tokens[None])).logits[0]
    logits = logits[-len(tokens) :]  # prompt tuning has virtual tokens before them
    return float(functional.cross_entropy(logits[example.prompt_length - 1 : -1], tokens[example.prompt_length :]))


def losses_here(model: AdaptedModel) -> list[float]:
    batch = collate(random_examples(), model.pad_id, model.device, 6)
    with torch.no_grad():
        nll, count = response_losses(model.model, batch)
    return (nll / count.clamp(min=1)).tolist()[:5]


@pytest.mark.parametrize(("kind", "base"), ON_BASES)
def test_plain_peft_loads_what_is_published_and_gives_the_same_loss(tiny_base, tmp_path, kind, base):
    recipe = recipe_for(tiny_base(base), **KINDS[kind])
    model = AdaptedModel.load(recipe)
    untrained = losses_here(model)
    shared = adapter_kind(recipe).shared(model.layout).names
    made_up = made_up_adapter(model, recipe)
    model.write({name: made_up[name] for name in shared})  # the rest stays as it began, as in a run
    exporter_of(recipe).export(tmp_path, model.read(model.layout.names), recipe)

    plain = AutoModelForCausalLM.from_pretrained(tiny_base(base), dtype=torch.float32)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        loaded = PeftModel.from_pretrained(plain, str(tmp_path))
    assert not [warning for warning in told if "missing" in str(warning.message)]

    found = [loss_with_plain_peft(loaded.eval(), example) for example in random_examples()]
    assert found == pytest.approx(losses_here(model), rel=1e-5)
    assert found != pytest.approx(untrained, rel=1e-3)
    saved = {name: value.detach().numpy() for name, value in get_peft_model_state_dict(loaded).items()}
    published = read_tensors(tmp_path)
    assert {name: value.tobytes() for name, value in saved.items()} == {
        name: published[name].tobytes() for name in saved
    }


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize(("kind", "base"), ON_BASES)
def test_the_initial_adapter_of_a_run_can_be_computed_with(tiny_base, kind, base, quantization):
    model = AdaptedModel.load(recipe_for(tiny_base(base), **KINDS[kind], model={"quantization": quantization}))
    assert all(np.isfinite(losses_here(model)))
