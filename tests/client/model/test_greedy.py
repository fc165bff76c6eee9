"""Greedy decoding in fixed shapes: what forward passes alone would say token by token, whoever else is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from sealora_client.data.example import Example
from sealora_client.evaluation.written import written_answers
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.greedy import greedy_tokens
from sealora_client.training.gradients import decoding_invariance
from sealora_client.training.gradients.decoding_invariance import decoding_rows

from single_examples import load, recipe_for, write_random_adapter

KINDS = ("llama", "gpt2", "gemma")
PROMPTS = [[5, 9, 11], [7, 8, 9, 10, 11, 12, 13], [4], [300, 20, 30, 40]]


def decoded(model: AdaptedModel, prompt: list[int], steps: int) -> list[int]:
    """A whole forward pass for each token, without padding or a cache."""
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(steps):
            logits = model.model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
            tokens.append(int(logits.argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_passes_without_a_cache_say(tiny_base, kind: str) -> None:
    model = load(tiny_base(kind))
    expected = [decoded(model, prompt, 6) for prompt in PROMPTS]
    found, scores = greedy_tokens(model, PROMPTS, 6, rows=6, length=48, to_its_end=False)
    assert found == expected
    assert scores.shape == (4, 6, 384)
    assert scores.argmax(dim=2).tolist() == expected


def test_virtual_tokens_stand_before_a_prompt_as_they_do_in_training(tiny_base) -> None:
    model = load(tiny_base(), adapter="prompt_tuning")
    expected = [decoded(model, prompt, 4) for prompt in PROMPTS]
    assert greedy_tokens(model, PROMPTS, 4, rows=4, length=48, to_its_end=False)[0] == expected


def test_an_answer_ends_with_what_ends_a_turn(tiny_base, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(tiny_base())
    whole = [decoded(model, prompt, 6) for prompt in PROMPTS]
    end = whole[1][2]
    monkeypatch.setattr(type(model), "end_ids", property(lambda self: [end]))
    found, _ = greedy_tokens(model, PROMPTS, 6, rows=4, length=48)
    expected = [own[: own.index(end) + 1] if end in own else own for own in whole]
    assert found == expected
    assert len(found[1]) <= 3


def test_in_all_steps_the_answers_are_the_same_and_so_are_the_steps_whatever_is_said(tiny_base, monkeypatch) -> None:
    model = load(tiny_base())
    end = decoded(model, PROMPTS[1], 6)[0]
    monkeypatch.setattr(type(model), "end_ids", property(lambda self: [end]))
    passes: list[int] = []
    model.model.get_base_model().register_forward_hook(lambda *_: passes.append(1))
    expected, _ = greedy_tokens(model, PROMPTS[1:2], 6, rows=1, length=48)
    assert len(expected[0]) == 1 == len(passes)
    found, _ = greedy_tokens(model, PROMPTS[1:2], 6, rows=1, length=48, in_all_steps=True)
    assert found == expected
    assert len(passes) == 1 + 6


def test_a_base_model_s_own_settings_change_nothing_and_are_left_as_they_were(tiny_base) -> None:
    model = load(tiny_base())
    expected, _ = greedy_tokens(model, PROMPTS, 6, rows=4, length=48)
    own = GenerationConfig(repetition_penalty=9.0, do_sample=True, temperature=2.0, no_repeat_ngram_size=1)
    model.model.get_base_model().generation_config = own
    assert greedy_tokens(model, PROMPTS, 6, rows=4, length=48)[0] == expected
    assert model.model.get_base_model().generation_config is own


def test_rows_that_a_kernel_rounds_by_their_place_are_written_one_by_one(tiny_base, monkeypatch) -> None:
    recipe = recipe_for(tiny_base(), training={"micro_batch_size": 4}, data={"max_tokens": 32})
    model = load(tiny_base())
    adapter = {name: value.copy() for name, value in model.read(model.layout.names).items()}
    shapes: list[int] = []

    def by_place(model, prompts, most, rows, length, *, to_its_end=True, pad_id=None):
        shapes.append(rows)
        found, scores = greedy_tokens(model, prompts, most, rows, length, to_its_end=to_its_end, pad_id=pad_id)
        return found, scores + torch.arange(len(prompts))[:, None, None] * 2**-20

    monkeypatch.setattr(decoding_invariance, "greedy_tokens", by_place)
    assert decoding_rows(model, recipe, 5) == 1
    assert set(shapes) == {4}
    assert decoding_rows(model, recipe, 5) == 1  # asked once
    assert all(np.array_equal(adapter[name], value) for name, value in model.read(model.layout.names).items())
    monkeypatch.undo()
    assert decoding_rows(model, recipe, 6) == 4
    examples = [Example(np.array([*prompt, 1], np.int32), len(prompt)) for prompt in PROMPTS]
    assert written_answers(model, recipe, examples, 5) == written_answers(model, recipe, examples, 5)


def test_the_kernels_of_this_machine_are_asked_and_not_believed(tiny_base) -> None:
    """LoRA of rank 2 on a CPU: products of a few rows by two columns are rounded by their place."""
    recipe = recipe_for(tiny_base(), lora={"rank": 2}, training={"micro_batch_size": 8}, data={"max_tokens": 48})
    model = AdaptedModel.load(recipe)
    write_random_adapter(model)
    rows = decoding_rows(model, recipe, 5)
    examples = [Example(np.array([*prompt, 1], np.int32), len(prompt)) for prompt in PROMPTS]
    alone = [greedy_tokens(model, [prompt], 5, rows, 48, to_its_end=False)[1] for prompt in PROMPTS]
    together = [greedy_tokens(model, PROMPTS[: max(rows, 1)], 5, rows, 48, to_its_end=False)[1]]
    assert torch.equal(alone[0][0], together[0][0])
    each = [written_answers(model, recipe, [example], 5)[0] for example in examples]
    assert written_answers(model, recipe, examples, 5) == each
