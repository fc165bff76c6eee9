"""Each step's noise is drawn while the step computes: what was paid for, once each, and nothing of it is left over."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.ledger import Leave, Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training import distributed, dp_sgd
from sealora_client.training.choice import training_of
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.noise.rounded_gaussian import rounded_gaussian
from sealora_common.entropy import Entropy, SeededEntropy, SystemEntropy
from sealora_common.errors import BudgetError
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe

from single_examples import plan_for, recipe_for, some_examples, write_random_adapter

STEPS = 4
BY_MECHANISM: dict[str, dict[str, Any]] = {
    "local": {"training": {"steps_per_round": STEPS, "optimizer": "sgd"}},
    "distributed": {
        "privacy": {"mechanism": "distributed", "records_per_person": 2},
        "training": {"steps_per_round": 1, "sample_rate": 0.9},
        "sealing": {"ring_bits": 32},
        "data": {"person_field": "person"},
    },
}


def planned(base: Path, mechanism: str) -> tuple[Recipe, TrainingPlan]:
    recipe = recipe_for(base, **BY_MECHANISM[mechanism])
    return recipe, plan_for(recipe) if mechanism == "local" else privacy_plan(recipe, 5).training


def trained(
    model: AdaptedModel, recipe: Recipe, plan: TrainingPlan, entropy: Entropy, leave: Leave | None = None
) -> NDArray[Any]:
    write_random_adapter(model)
    values = training_of(recipe).train(
        model,
        Population.of(some_examples(12), [str(i % 4) for i in range(12)] if recipe.data.person_field else None),
        plan=plan,
        recipe=recipe,
        round_number=1,
        clip_norm=1.0,
        leave=Rehearsal(plan.event) if leave is None else leave,
        entropy=entropy,
    )
    return values.values


@contextmanager
def drawn_afterwards(draw: Callable[[Entropy], NDArray[np.int64]], entropy: Entropy) -> Iterator[Any]:
    """What a step did before it drew its noise meanwhile."""

    class AtTheEnd:
        def take(self) -> NDArray[np.int64]:
            return draw(entropy)

    yield AtTheEnd()


@pytest.mark.parametrize("mechanism", BY_MECHANISM)
def test_a_seeded_round_is_bit_for_bit_that_of_noise_drawn_after_the_sum(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    recipe, plan = planned(base, mechanism)
    meanwhile = trained(model, recipe, plan, SeededEntropy("bits"))
    for module in (dp_sgd, distributed):
        monkeypatch.setattr(module, "noise_meanwhile", drawn_afterwards)
    assert np.array_equal(trained(model, recipe, plan, SeededEntropy("bits")), meanwhile)


class Keys:
    """An entropy that notes what is asked of it."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def bytes(self, count: int, /) -> bytes:
        self.given.append(SystemEntropy().bytes(count))
        return self.given[-1]


@pytest.mark.parametrize("mechanism", BY_MECHANISM)
def test_a_round_that_is_not_paid_for_draws_nothing_at_all(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    recipe, plan = planned(base, mechanism)
    for module in (dp_sgd, distributed):
        monkeypatch.setattr(module, "noise_meanwhile", lambda *_: pytest.fail("noise was drawn"))
    wrong = replace(plan.event, noise_multiplier=plan.event.noise_multiplier / 2)
    keys = Keys()
    for leave in (Rehearsal(wrong), Rehearsal(replace(plan.event, sample_rate=plan.event.sample_rate / 2))):
        with pytest.raises(BudgetError):
            trained(model, recipe, plan, keys, leave)
    assert keys.given == []


def test_every_step_draws_once_adds_what_it_drew_and_holds_no_other_step_s(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, plan = planned(base, "local")
    alive: list[weakref.ref[Any]] = []
    drawn: list[NDArray[np.int64]] = []

    def watched(entropy: Entropy, size: int, std: float) -> NDArray[np.int64]:
        assert not [each for each in alive if each() is not None]  # the step before has let go of its own
        noise = rounded_gaussian(entropy, size, std)
        alive.append(weakref.ref(noise))
        drawn.append(noise.copy())
        return noise

    monkeypatch.setattr(dp_sgd, "rounded_gaussian", watched)
    monkeypatch.setattr(
        ClippedSum, "sum_of", lambda self, sample: torch.zeros(self.size, dtype=torch.float64, device=model.device)
    )
    values = trained(model, recipe, plan, SystemEntropy())
    assert len(drawn) == STEPS
    assert len({noise.tobytes() for noise in drawn}) == STEPS
    expected = plan.expected_batch(12)
    total = sum(noise.astype(np.float64) for noise in drawn) / plan.grid_steps / expected
    assert np.allclose(values, -recipe.training.learning_rate * total, rtol=1e-4, atol=1e-7)
    assert not [each for each in alive if each() is not None]


@pytest.mark.parametrize("mechanism", BY_MECHANISM)
def test_a_step_that_fails_drops_its_noise_and_another_attempt_has_other_noise(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    recipe, plan = planned(base, mechanism)
    module, name = (dp_sgd, "rounded_gaussian") if mechanism == "local" else (distributed, "skellam")
    sound, alive, drawn = getattr(module, name), [], []

    def watched(*given: Any) -> NDArray[np.int64]:
        noise = sound(*given)
        alive.append(weakref.ref(noise))
        drawn.append(noise.tobytes())
        return noise

    def failing(self: ClippedSum, sample: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("on purpose")

    monkeypatch.setattr(module, name, watched)
    with monkeypatch.context() as patch:
        patch.setattr(ClippedSum, "sum_of", failing)
        with pytest.raises(torch.OutOfMemoryError):
            trained(model, recipe, plan, SystemEntropy())
    assert len(drawn) == 1
    assert alive[0]() is None
    trained(model, recipe, plan, SystemEntropy())
    assert len(set(drawn)) == 1 + plan.steps
