"""Rounds of DP-SGD on a tiny model, each from the same random adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.dp_sgd import train_round
from sealora_client.training.round_training import TrainedRound
from sealora_common.entropy import Entropy, SeededEntropy
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe.schema import Recipe

from single_examples import plan_for, write_random_adapter

Base = Callable[..., Path]
SGD = {"optimizer": "sgd", "learning_rate": 1.0, "steps_per_round": 1}


def train(
    model: AdaptedModel,
    recipe: Recipe,
    examples: Sequence[Example] | Population,
    *,
    noise: float = 1.0,
    entropy: Entropy | None = None,
    **more: Any,
) -> TrainedRound:
    """A round from the same random adapter, whatever was trained before."""
    write_random_adapter(model)
    population = examples if isinstance(examples, Population) else Population.of(examples)
    more.setdefault("round_number", 1)
    entropy = SeededEntropy("s") if entropy is None else entropy
    plan = plan_for(recipe, noise)
    return train_round(model, population, plan=plan, recipe=recipe, leave=rehearsal(plan), entropy=entropy, **more)


def rehearsal(plan: TrainingPlan) -> Rehearsal | None:
    """Leave for the plan; none without privacy."""
    return Rehearsal(plan.event) if plan.protects else None
