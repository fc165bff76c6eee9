"""Training draws with the rate and the noise that its plan accounts for, and has no other place to take them from."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import sealora_client.training
from sealora_client.data.population import Population
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training import clipped_sum, distributed, dp_sgd
from sealora_client.training.choice import training_of
from sealora_common.entropy import Entropy, SeededEntropy
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.plan import PrivacyPlan, privacy_plan
from sealora_common.recipe import Recipe

from single_examples import recipe_for, some_examples

Base = Callable[..., Path]
ROSTER = 4


class Drawn:
    """What the engine asked of its samplers; the samples are empty, and there is no noise."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.gaussian: list[float] = []
        self.skellam: list[float] = []

    def sample(self, entropy: Entropy, population: int, rate: float) -> NDArray[np.int64]:
        self.rates.append(rate)
        return np.zeros(0, dtype=np.int64)

    def gaussian_noise(self, entropy: Entropy, size: int, std: float) -> NDArray[np.int64]:
        self.gaussian.append(std)
        return np.zeros(size, dtype=np.int64)

    def skellam_noise(self, entropy: Entropy, size: int, variance: float) -> NDArray[np.int64]:
        self.skellam.append(variance)
        return np.zeros(size, dtype=np.int64)


def drawn_by(model: AdaptedModel, recipe: Recipe, plan: PrivacyPlan) -> Drawn:
    """A round of `plan` with the other settings of `recipe`."""
    drawn, population, training = Drawn(), Population.of(some_examples(3)), plan.training
    leave = Rehearsal(training.event) if training.protects else None
    entropy = SeededEntropy("s")
    with (
        patch.object(clipped_sum, "poisson_batch", drawn.sample),
        patch.object(dp_sgd, "rounded_gaussian", drawn.gaussian_noise),
        patch.object(distributed, "skellam", drawn.skellam_noise),
    ):
        training_of(recipe).train(
            model,
            population,
            plan=training,
            recipe=recipe,
            round_number=1,
            clip_norm=1.0,
            leave=leave,
            entropy=entropy,
        )
    return drawn


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    mechanism = draw(st.sampled_from(["local", "distributed", "none"]))
    shared = mechanism == "distributed"
    return recipe_for(
        Path("unused"),
        privacy={
            "mechanism": mechanism,
            "epsilon": draw(st.sampled_from([1.0, 4.0, 8.0])),
            "delta": 1e-5,
            "spare_rounds": draw(st.integers(0, 3)) if shared else 0,
            "clipping": draw(st.sampled_from(["flat", "per_layer"])),
        },
        training={
            "sample_rate": draw(st.sampled_from([0.01, 0.3, 1.0])),
            "steps_per_round": 1 if shared else draw(st.integers(1, 4)),
        },
        sealing={"ring_bits": 28},
    )


@settings(max_examples=25)
@given(recipe=recipes(), others=recipes())
def test_what_is_drawn_is_what_is_accounted_whatever_the_recipe_beside_the_plan_says(
    model: AdaptedModel, recipe: Recipe, others: Recipe
) -> None:
    plan = privacy_plan(recipe, ROSTER)
    own = {"mechanism": recipe.privacy.mechanism, "delta": recipe.privacy.delta}
    contradicting = others.model_copy(update={"privacy": others.privacy.model_copy(update=own)})
    drawn = drawn_by(model, contradicting, plan)
    event, grid = plan.training.event, plan.training.grid
    assert drawn.rates == [event.sample_rate] * event.steps
    assert (event.sample_rate, event.steps) == (recipe.training.sample_rate, recipe.training.steps_per_round)
    if plan.training.protects:
        assert plan.charge("train").event == event
        assert epsilon_pld([plan.charge("train").whole_run], recipe.privacy.delta) <= recipe.privacy.epsilon
    if event.noise == "skellam":
        share = (event.noise_multiplier * event.grid_steps) ** 2 / grid.honest_survivors
        assert (drawn.skellam, drawn.gaussian) == ([share] * event.steps, [])
    elif plan.training.protects:
        std = event.noise_multiplier * plan.training.grid_steps
        assert (drawn.gaussian, drawn.skellam) == ([std] * event.steps, [])
    else:
        assert (drawn.gaussian, drawn.skellam, plan.charges) == ([], [], ())


ACCOUNTED = {"steps_per_round", "epsilon", "spare_rounds", "target_quantile", "clipping", "records_per_person"}


def test_no_module_of_training_reads_from_a_recipe_what_a_plan_accounts_for() -> None:
    modules = sorted(Path(sealora_client.training.__file__).parent.rglob("*.py"))
    assert len(modules) > 10
    read = {
        (node.attr, ast.unparse(node.value))
        for module in modules
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert not {name for name, _ in read} & ACCOUNTED
    assert {owner for name, owner in read if name == "sample_rate"} == {"self._plan", "event"}
