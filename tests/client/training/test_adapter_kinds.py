"""Every kind of adapter learns under privacy: the loss falls under both mechanisms, through clipping and noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import heldout_loss
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.training.choice import training_of
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe
from sealora_common.round.sum_grid import SumGrid

from adapter_kinds import FEW, KINDS
from single_examples import plan_for, recipe_for, some_examples

GRID = SumGrid(grid_steps=1 << 12, site_limit=8 << 12, bits=24, honest_survivors=1)
NOISE = 0.05
POPULATION = Population.of(some_examples(16))


def recipe_of(base: Path, kind: str, mechanism: str) -> Recipe:
    changes: dict[str, Any] = {"training": {"sample_rate": 1.0, "steps_per_round": 12, "learning_rate": 2e-2}}
    if mechanism == "distributed":
        changes["training"] |= {"steps_per_round": 1}
        changes |= {"privacy": {"mechanism": "distributed"}, "sealing": {"ring_bits": 24}}
    return recipe_for(base, **KINDS[kind], **changes)


def plan_of(recipe: Recipe) -> TrainingPlan:
    if recipe.privacy.mechanism == "local":
        return plan_for(recipe, NOISE)
    return TrainingPlan.of(recipe, PrivacyEvent(NOISE, 1.0, 1, "skellam", GRID.grid_steps), GRID.grid_steps, GRID)


def loss_of(model: AdaptedModel) -> float:
    return float(np.mean(heldout_loss(model, CausalLanguageModelling(), POPULATION, 4).by_unit))


@pytest.mark.parametrize(("kind", "base"), FEW)
def test_the_loss_falls_in_a_round_of_steps_at_the_site(tiny_base, kind, base):
    recipe = recipe_of(tiny_base(base), kind, "local")
    model, plan = AdaptedModel.load(recipe), plan_of(recipe)
    before = loss_of(model)
    trained = training_of(recipe).train(
        model,
        POPULATION,
        plan=plan,
        recipe=recipe,
        round_number=1,
        clip_norm=1.0,
        leave=Rehearsal(plan.event),
        entropy=SeededEntropy(kind),
    )
    assert trained.moved
    assert trained.values.size == adapter_kind(recipe).trained(model.layout, 1).size
    assert loss_of(model) < before - 0.05


@pytest.mark.parametrize(("kind", "base"), FEW)
def test_the_loss_falls_along_the_sums_that_sites_share(tiny_base, kind, base):
    recipe = recipe_of(tiny_base(base), kind, "distributed")
    model, plan = AdaptedModel.load(recipe), plan_of(recipe)
    layout = adapter_kind(recipe).trained(model.layout, 1)
    before, entropy = loss_of(model), SeededEntropy(kind)
    for _ in range(12):
        training = training_of(recipe)
        trained = training.train(
            model,
            POPULATION,
            plan=plan,
            recipe=recipe,
            round_number=1,
            clip_norm=1.0,
            leave=Rehearsal(plan.event),
            entropy=entropy,
        )
        known = training.becomes_known(trained, plan=plan, population=len(POPULATION), clip_norm=1.0, entropy=entropy)
        change = known.change / np.linalg.norm(known.change) * 0.3
        model.write(layout.unflatten(layout.flatten(model.read(layout.names)) + change))
    assert loss_of(model) < before - 0.05
