"""Virtual tokens stand before the padding: positions, completions, and the room they take."""

from __future__ import annotations

import pytest
import torch

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.generate import complete
from sealora_client.model.loss import collate, response_losses
from sealora_common.recipe import parse_recipe
from sealora_common.recipe.sections.data import DataSection

from adapter_kinds import made_up_adapter
from single_examples import random_examples, recipe_for
from tiny_models import KINDS as BASES

KIND = {"adapter": "prompt_tuning", "prompt_tuning": {"virtual_tokens": 6}}


def adapted(base):
    recipe = recipe_for(base, **KIND)
    model = AdaptedModel.load(recipe)
    model.write(made_up_adapter(model, recipe, std=1.0))
    return model


@pytest.mark.parametrize("base", BASES)
def test_completions_are_those_of_each_prompt_alone(tiny_base, base):
    model = adapted(tiny_base(base))
    prompts = ["What is 7?", "Describe code I21.4. Malignant neoplasm of the bronchus, right side.", "?"]
    together = complete(model, prompts, DataSection(), max_new_tokens=8)
    assert together == [complete(model, [prompt], DataSection(), max_new_tokens=8)[0] for prompt in prompts]


@pytest.mark.parametrize("base", BASES)
def test_what_an_example_is_preceded_by_is_the_virtual_tokens_whatever_the_padding(tiny_base, base):
    model = adapted(tiny_base(base))
    (example,) = random_examples([(5, 9)])
    found = []
    with torch.no_grad():
        for length in (15, 48, 136):
            nll, _ = response_losses(model.model, collate([example], model.pad_id, model.device, 3, length))
            found.append(float(nll[0]))
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)


def test_virtual_tokens_take_positions():
    text = "{name: a, rounds: 1, model: {base: x}, adapter: prompt_tuning, prompt_tuning: {virtual_tokens: 7}}"
    assert parse_recipe(text).virtual_tokens == 7
    assert parse_recipe("{name: a, rounds: 1, model: {base: x}}").virtual_tokens == 0
