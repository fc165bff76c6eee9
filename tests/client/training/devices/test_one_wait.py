"""A step on several devices waits for its own once, after its share: what it sends is read before, and no sum after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from device_bench import device_recipe, persons, prepared, records

from quick_cases import quick_cases
from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.clipped_groups import ClippedGroups, ClippingFigures
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.devices import group as group_module
from sealora_client.training.devices.group import DeviceGroup
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe

from device_waits import waits
from single_examples import write_random_adapter

ON_CPU = ("collate",)
"""Makes batches on the CPU and sends them."""
READ, ONCE = "model/adapted.py ", "training/clipped_groups.py _read"
"""The adapter, for whoever it is sent to; and the figures of clipping."""
STEPS = 2


@pytest.fixture(scope="module")
def two(model: AdaptedModel, base: Path) -> Iterator[DeviceGroup]:
    with prepared(model, device_recipe(base)) as devices:
        yield devices


def steps(
    model: AdaptedModel, recipe: Recipe, population: Population, devices: DeviceGroup | None
) -> tuple[list[list[str]], list[torch.Tensor], ClippingFigures]:
    """What each of some steps would wait for, the sums, and the figures of clipping."""
    write_random_adapter(model)
    layout = adapter_kind(recipe).trained(model.layout, 1)
    plan = privacy_plan(recipe, 3).training
    sums = ClippedSum(
        model,
        layout,
        population,
        plan=plan,
        recipe=recipe,
        clip_norm=recipe.privacy.clip_norm,
        entropy=SeededEntropy("w"),
        devices=devices,
    )
    seen, totals = [], []
    with sums:
        for _ in range(STEPS):
            with waits(but_in=ON_CPU) as of_step:
                totals.append(sums.draw())
            seen.append(of_step)
    return seen, totals, sums.figures


WAYS: dict[str, tuple[dict[str, Any], Population]] = {
    "records": ({}, Population.of(records())),
    "persons, with votes": (
        {"data": {"person_field": "p"}, "privacy": {"target_quantile": 0.5, "records_per_person": 3}},
        persons(),
    ),
}


@pytest.mark.parametrize("way", quick_cases(WAYS, "persons, with votes"))
def test_it_waits_once_and_its_bits_are_those_of_one_device(
    model: AdaptedModel, base: Path, two: DeviceGroup, way: str
) -> None:
    sections, population = WAYS[way]
    recipe = device_recipe(base, training={"sample_rate": 0.9}, **sections)
    two.prepare(recipe)
    alone, sums, figures = steps(model, recipe, population, None)
    shared, same_sums, same_figures = steps(model, recipe, population, two)
    assert alone == [[ONCE]] * STEPS
    for of_step in shared:
        *before, after = of_step
        assert before
        assert all(line.startswith(READ) for line in before)
        assert after == ONCE
    assert all(torch.equal(one, other) for one, other in zip(sums, same_sums, strict=True))
    assert figures == same_figures
    assert figures.examples > 0
    assert len(two.pids) == 1


def read_after_each_group(patch: pytest.MonkeyPatch) -> None:
    def each(self: ClippedGroups, groups: Any, total: torch.Tensor) -> Any:
        return [figures for group in groups for figures in sound(self, [group], total)]

    sound = ClippedGroups.add_all
    patch.setattr(ClippedGroups, "add_all", each)


def sums_sent_and_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group_module, "to_device", lambda tensor, where: tensor.to(where))


@pytest.mark.parametrize("regression", [read_after_each_group, sums_sent_and_waited_for])
def test_a_regression_is_seen(
    model: AdaptedModel, base: Path, two: DeviceGroup, monkeypatch: pytest.MonkeyPatch, regression: Any
) -> None:
    recipe = device_recipe(base, training={"sample_rate": 0.9})
    two.prepare(recipe)
    regression(monkeypatch)
    shared, _, _ = steps(model, recipe, Population.of(records()), two)
    assert all(sum(not line.startswith(READ) for line in of_step) > 1 for of_step in shared)
