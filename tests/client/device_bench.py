"""Devices of a tiny model's site, and the same round trained with and without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.choice import training_of
from sealora_client.training.devices.group import DeviceGroup
from sealora_client.training.round_training import TrainedRound
from sealora_common.entropy import Entropy, SeededEntropy
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe

from single_examples import random_examples, recipe_for, write_random_adapter


def device_recipe(base: Path, **changes: Any) -> Recipe:
    """Micro-batches of two rows, so that a few records make many groups; two lengths of them."""
    steps = 1 if changes.get("privacy", {}).get("mechanism") == "distributed" else 2
    training = {"micro_batch_size": 2, "sample_rate": 0.5, "steps_per_round": steps, **changes.pop("training", {})}
    data = {"max_tokens": 60, **changes.pop("data", {})}
    return recipe_for(base, training=training, data=data, **changes)


@contextmanager
def prepared(model: AdaptedModel, recipe: Recipe, count: int = 2, **options: Any) -> Iterator[DeviceGroup]:
    """So many processes on the CPU, ready for the recipe."""
    group = DeviceGroup(model, ["cpu"] * count, **options)
    try:
        group.prepare(recipe)
        yield group
    finally:
        group.close()


def records(count: int = 13) -> list[Example]:
    """Records of two padded lengths."""
    generator = np.random.default_rng(3)
    lengths = [
        (int(generator.integers(2, 20)) + 40 * (n % 3 == 0), int(generator.integers(1, 12))) for n in range(count)
    ]
    return random_examples(lengths)


def persons(count: int = 5) -> Population:
    """Persons of one to five records each."""
    owners = [str(number % count) for number in range(13)] + ["0", "0"]
    return Population.of(records(15), owners)


def trained(
    model: AdaptedModel,
    recipe: Recipe,
    population: Population,
    devices: DeviceGroup | None,
    *,
    round_number: int = 1,
    entropy: Entropy | None = None,
) -> TrainedRound:
    """A round by the recipe's own mechanism, from the same random adapter, its samples and noise from the same seed."""
    write_random_adapter(model)
    plan = privacy_plan(recipe, 3).training
    return training_of(recipe).train(
        model,
        population,
        plan=plan,
        recipe=recipe,
        round_number=round_number,
        clip_norm=recipe.privacy.clip_norm,
        leave=Rehearsal(plan.event) if plan.protects else None,
        entropy=SeededEntropy("s") if entropy is None else entropy,
        devices=devices,
    )


def same(one: TrainedRound, other: TrainedRound) -> bool:
    """Whether two rounds are equal to the last bit, the site's own figures included."""
    return (
        one.values.dtype == other.values.dtype
        and one.values.tobytes() == other.values.tobytes()
        and (one.unclipped, one.moved) == (other.unclipped, other.moved)
        and one.figures == other.figures
    )
