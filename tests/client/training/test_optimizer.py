"""What a site's steps are: torch's own optimisers and schedules, on the gradients of ordinary autograd."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bitsandbytes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import get_scheduler

from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.optimizer import make_optimizer
from sealora_common.recipe import TrainingSection

from dp_sgd_runs import train
from lora_kinds import lora
from single_examples import recipe_for, reference_gradients, some_examples, write_random_adapter

pytestmark = pytest.mark.usefixtures("fresh_adapter")

STEPS = 4
WITHOUT_PRIVACY = {"mechanism": "none"}
SETTINGS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01},
    "adamw with decay": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.3},
    "adamw with betas and eps": {"optimizer": "adamw", "learning_rate": 0.01, "betas": (0.5, 0.8), "eps": 1e-3},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "sgd with decay": {"optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 0.1},
    "sgd with momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "sgd with both": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.1},
}


def of_torch(training: dict[str, Any], weight: torch.nn.Parameter) -> torch.optim.Optimizer:
    """The optimiser that a person means by these settings."""
    named: dict[str, Any] = {"lr": training["learning_rate"], "weight_decay": training.get("weight_decay", 0.0)}
    if training["optimizer"] == "sgd":
        return torch.optim.SGD([weight], momentum=training.get("momentum", 0.0), **named)
    return torch.optim.AdamW(
        [weight], betas=training.get("betas", (0.9, 0.999)), eps=training.get("eps", 1e-8), **named
    )


def expected_delta(model: AdaptedModel, training: dict[str, Any], rounds: int = 1) -> NDArray[np.float64]:
    """What the steps of the first of so many rounds make of the adapter's values, in float64 and without Sealora."""
    write_random_adapter(model)
    layout = lora().trained(model.layout, 1)
    start = torch.cat([parameter.detach().reshape(-1).double() for parameter in model.parameters_of(layout)])
    weight = torch.nn.Parameter(start.clone())
    optimizer = of_torch(training, weight)
    schedule = get_scheduler(
        training.get("schedule", "constant"),
        optimizer,
        num_warmup_steps=0,
        num_training_steps=rounds * STEPS,
    )
    for _ in range(STEPS):
        weight.grad = reference_gradients(model, layout, some_examples(6)).mean(dim=0)
        optimizer.step()
        schedule.step()
        model.write({**current(model), **layout.unflatten(weight.detach().numpy())})
    return (weight.detach() - start).numpy()


def current(model: AdaptedModel) -> dict[str, NDArray[np.float32]]:
    return {
        spec.name: parameter.detach().numpy().copy()
        for spec, parameter in zip(model.layout.tensors, model.parameters_of(model.layout), strict=True)
    }


def trained_delta(model: AdaptedModel, base: Path, training: dict[str, Any]) -> NDArray[Any]:
    settings = {**training, "sample_rate": 1.0, "steps_per_round": STEPS}
    recipe = recipe_for(base, training=settings, privacy=WITHOUT_PRIVACY)
    return train(model, recipe, some_examples(6)).values


def error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_round_s_steps_are_those_of_torch_s_optimiser(model: AdaptedModel, base: Path, name: str) -> None:
    expected = expected_delta(model, SETTINGS[name])
    assert error(trained_delta(model, base, SETTINGS[name]), expected) < 1e-4


def test_each_setting_makes_another_round(model: AdaptedModel, base: Path) -> None:
    deltas = [trained_delta(model, base, settings) for settings in SETTINGS.values()]
    assert all(error(a, b) > 1e-2 for a, b in itertools.combinations(deltas, 2))


def test_the_eight_bit_optimiser_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def paged(parameters: Any, **named: Any) -> torch.optim.Optimizer:
        asked.update(named)
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])

    monkeypatch.setattr(bitsandbytes.optim, "PagedAdamW8bit", paged)
    on_cuda = SimpleNamespace(device=torch.device("cuda"))
    settings = {"optimizer": "paged_adamw_8bit", "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}
    make_optimizer(TrainingSection.model_validate(settings), [on_cuda])  # type: ignore[list-item]
    assert asked == {"lr": 2e-3, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_they_go_with_the_schedule_of_the_whole_run(model: AdaptedModel, base: Path, name: str, schedule: str) -> None:
    training = {**SETTINGS[name], "schedule": schedule}
    expected = expected_delta(model, training, rounds=4)
    assert error(trained_delta(model, base, training), expected) < 1e-4


def test_a_later_round_goes_on_where_the_schedule_is(model: AdaptedModel, base: Path) -> None:
    """SGD's first step of round 3 of 4 is at half the rate of the first of round 1."""
    settings = {"optimizer": "sgd", "learning_rate": 0.05, "sample_rate": 1.0, "steps_per_round": 1}
    recipe = recipe_for(base, training={**settings, "schedule": "linear"}, privacy=WITHOUT_PRIVACY)
    first, third = (train(model, recipe, some_examples(6), round_number=number).values for number in (1, 3))
    np.testing.assert_allclose(third, first / 2, rtol=1e-4, atol=1e-7)
