"""Recipes, examples and float64 references of every objective: a loop over single examples by ordinary autograd.

The references share nothing with the engine but the weights: each sequence runs alone and unpadded, and the losses are
written down from the papers once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective.choice import objective_of
from sealora_common.adapter import AdapterLayout, Tensors, adapter_kind
from sealora_common.recipe import Recipe

from single_examples import in_float64, recipe_for

PAIRS = {"data": {"layout": "preference"}}
OBJECTIVES: dict[str, dict[str, dict[str, Any]]] = {
    "causal": {},
    "all tokens": {"objective": {"loss_on": "all"}},
    "classification": {
        "objective": {"kind": "classification"},
        "data": {"layout": "labelled", "labels": {"0": "benign", "1": "malignant", "2": "unclear"}},
    },
    "dpo": {"objective": {"kind": "dpo", "beta": 0.5}, **PAIRS},
    "cdpo": {"objective": {"kind": "dpo", "beta": 0.5, "label_smoothing": 0.2}, **PAIRS},
    "ipo": {"objective": {"kind": "dpo", "beta": 0.5, "loss": "ipo"}, **PAIRS},
    "orpo": {"objective": {"kind": "orpo", "beta": 0.5}, **PAIRS},
    "kto": {
        "objective": {"kind": "kto_zero", "beta": 0.5},
        "data": {"layout": "feedback"},
    },
}
"""Sections of a recipe that trains for each."""


def objective_recipe(name: str, **changes: Any) -> Recipe:
    """A small private recipe of the objective, with sections and fields changed."""
    sections: dict[str, Any] = {**OBJECTIVES[name]}
    for section, values in changes.items():
        sections[section] = {**sections.get(section, {}), **values} if isinstance(values, dict) else values
    return recipe_for(Path("unused"), **sections)


def some_of(recipe: Recipe, model: AdaptedModel, count: int, seed: int = 0) -> list[Example]:
    """Made-up examples of random lengths; the sequences of one share their prompt."""
    objective, generator = objective_of(recipe), np.random.default_rng(seed)
    return [objective.made_up(_sequences(generator, objective.width), model.tokenizer) for _ in range(count)]


def _sequences(generator: np.random.Generator, width: int) -> list[Example]:
    prompt = generator.integers(3, 384, int(generator.integers(2, 20)))
    responses = [generator.integers(3, 384, int(generator.integers(1, 12))) for _ in range(width)]
    return [Example(np.concatenate([prompt, each]).astype(np.int32), len(prompt)) for each in responses]


def single_losses(recipe: Recipe, model: AdaptedModel, examples: Sequence[Example]) -> list[float]:
    """Float64: the loss of each example under the adapter in `model`, one at a time."""
    with in_float64(model), torch.no_grad():
        return [float(_loss(recipe, model, example)) for example in examples]


def single_gradients(recipe: Recipe, model: AdaptedModel, layout: AdapterLayout, examples: Sequence[Example]) -> Tensor:
    """Float64 (examples, P): the gradient of each example's loss, one at a time."""
    model.train_only(layout)
    rows = []
    with in_float64(model):
        for example in examples:
            found = torch.autograd.grad(_loss(recipe, model, example), model.parameters_of(layout))
            rows.append(torch.cat([gradient.reshape(-1) for gradient in found]))
    model.train_only(layout)
    return torch.stack(rows)


def _loss(recipe: Recipe, model: AdaptedModel, example: Example) -> Tensor:
    losses: dict[str, Callable[[], Tensor]] = {
        "causal": lambda: -_log_likelihoods(model, example).mean(),
        "classification": lambda: _classification(recipe, model, example),
        "dpo": lambda: _dpo(recipe, model, example),
        "orpo": lambda: _orpo(recipe, model, example),
        "kto_zero": lambda: _kto(recipe, model, example),
    }
    return losses[recipe.objective.kind]()


def _log_likelihoods(model: AdaptedModel, example: Example) -> Tensor:
    """Float64 (n,), of the tokens that are learned."""
    tokens = torch.from_numpy(example.tokens.astype(np.int64))
    logits = model.model(input_ids=tokens[None], use_cache=False).logits[0, -len(tokens) :]
    assert logits.dtype == torch.float64
    every = functional.log_softmax(logits[:-1], dim=-1).gather(1, tokens[1:, None])[:, 0]
    return every[torch.from_numpy(example.learned[1:])]


def _classification(recipe: Recipe, model: AdaptedModel, example: Example) -> Tensor:
    tokens = torch.from_numpy(example.tokens.astype(np.int64))
    logits = model.model(input_ids=tokens[None], use_cache=False).logits[0, -2]
    classes = [model.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in recipe.data.labels.values()]
    assert int(tokens[-1]) in classes
    return logits[classes].exp().sum().log() - logits[tokens[-1]]


def _dpo(recipe: Recipe, model: AdaptedModel, example: Example) -> Tensor:
    section = recipe.objective
    reduce = torch.mean if section.loss == "ipo" else torch.sum
    chosen, rejected = (_ratio(recipe, model, each, reduce) for each in example.sequences)
    ratio = chosen - rejected
    if section.loss == "ipo":
        return (ratio - 1 / (2 * section.beta)) ** 2
    right, wrong = torch.sigmoid(section.beta * ratio), torch.sigmoid(-section.beta * ratio)
    return -(1 - section.label_smoothing) * right.log() - section.label_smoothing * wrong.log()


def _ratio(recipe: Recipe, model: AdaptedModel, example: Example, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """What the model says of the response beyond what it said before it was trained."""
    now = reduce(_log_likelihoods(model, example))
    live = {name: parameter.data for name, parameter in _parameters(model).items()}
    with torch.no_grad():
        for name, start in _initial(recipe, model).items():
            _parameters(model)[name].data = torch.from_numpy(start.copy()).double()
        before = reduce(_log_likelihoods(model, example))
        for name, value in live.items():
            _parameters(model)[name].data = value
    return now - before


def _kto(recipe: Recipe, model: AdaptedModel, example: Example) -> Tensor:
    ratio = recipe.objective.beta * _ratio(recipe, model, example, torch.sum)
    return 1 - torch.sigmoid(ratio if example.wanted else -ratio)


def _orpo(recipe: Recipe, model: AdaptedModel, example: Example) -> Tensor:
    chosen, rejected = (_log_likelihoods(model, each).mean() for each in example.sequences)
    odds = [value.exp() / (1 - value.exp()) for value in (chosen, rejected)]
    return -chosen - recipe.objective.beta * torch.sigmoid((odds[0] / odds[1]).log()).log()


def _parameters(model: AdaptedModel) -> dict[str, torch.nn.Parameter]:
    return dict(zip(model.layout.names, model.parameters_of(model.layout), strict=True))


def _initial(recipe: Recipe, model: AdaptedModel) -> Tensors:
    return adapter_kind(recipe).initial(model.layout)
