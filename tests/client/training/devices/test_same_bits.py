"""A round on several devices is the round of one process, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from device_bench import device_recipe, persons, prepared, records, same, trained

from quick_cases import quick_cases
from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training import clipped_sum
from sealora_client.training.clipped_groups import ClippedGroups, Group
from sealora_client.training.devices.group import DeviceGroup
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import ModelError

DISTRIBUTED = {"mechanism": "distributed"}
WAYS: dict[str, tuple[dict[str, Any], Callable[[], Population]]] = {
    "local": ({}, lambda: Population.of(records())),
    "local, A and B": ({"lora": {"aggregation": "average"}}, lambda: Population.of(records())),
    "local, by person, with votes": (
        {"data": {"person_field": "p"}, "privacy": {"target_quantile": 0.5, "records_per_person": 3}},
        persons,
    ),
    "local, each matrix clipped": ({"privacy": {"clipping": "per_layer"}}, lambda: Population.of(records())),
    "distributed, ffa": ({"privacy": DISTRIBUTED, "sealing": {"ring_bits": 24}}, lambda: Population.of(records())),
    "distributed, A and B, by person, with votes": (
        {
            "lora": {"aggregation": "average"},
            "privacy": {**DISTRIBUTED, "target_quantile": 0.5},
            "sealing": {"ring_bits": 24},
            "data": {"person_field": "p"},
        },
        persons,
    ),
    "no privacy": ({"privacy": {"mechanism": "none"}}, lambda: Population.of(records())),
}


@pytest.fixture(scope="module")
def two(model: AdaptedModel, base: Path) -> Iterator[DeviceGroup]:
    with prepared(model, device_recipe(base)) as devices:
        yield devices


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Group]:
    """The groups that this process computed itself."""
    groups: list[Group] = []
    real = ClippedGroups.add

    def watched(self: ClippedGroups, group: Group, total: torch.Tensor) -> Any:
        groups.append(group)
        return real(self, group, total)

    monkeypatch.setattr(ClippedGroups, "add", watched)
    return groups


@pytest.mark.parametrize("way", quick_cases(WAYS, "local", "distributed, A and B, by person, with votes"))
def test_two_devices_train_the_round_of_one(
    model: AdaptedModel, base: Path, two: DeviceGroup, computed: list[Group], way: str
) -> None:
    sections, population = WAYS[way]
    recipe, units = device_recipe(base, **sections), population()
    alone = [trained(model, recipe, units, None, round_number=number) for number in (1, 2)]
    two.prepare(recipe)
    all_groups = len(computed)
    shared = [trained(model, recipe, units, two, round_number=number) for number in (1, 2)]
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))
    assert alone[0].values.any()
    assert 0 < len(computed) - all_groups < all_groups  # the rest was computed elsewhere
    assert len(two.pids) == 1


@pytest.mark.slow
def test_three_devices_do_too_and_so_does_dropout(
    tiny_base: Callable[..., Path], computed: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks are drawn by group, from seeds of this process: whoever computes it draws the same."""
    recipe = device_recipe(tiny_base("llama"), lora={"dropout": 0.3}, model={"gradient_checkpointing": True})
    dropping = AdaptedModel.load(recipe)
    units = Population.of(records())
    alone, other = (trained(dropping, recipe, units, None, entropy=SeededEntropy(seed)) for seed in ("s", "t"))
    assert not np.array_equal(alone.values, other.values)
    with prepared(dropping, recipe, 3) as three:
        del computed[:]
        assert same(trained(dropping, recipe, units, three), alone)
        shares = len(computed)
        assert len(three.pids) == 2
    del computed[:]
    trained(dropping, recipe, units, None)
    assert shares <= len(computed) // 3 + recipe.training.steps_per_round
    # Without the model's dropout it is another round, so there was something to agree on.
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: x)
    assert not same(trained(dropping, recipe, units, None), alone)


@pytest.mark.parametrize("drawn", [[], [4], [4, 7]], ids=["nobody", "one", "two of a length"])
@pytest.mark.parametrize(
    "way", quick_cases(["local", "distributed, A and B, by person, with votes", "no privacy"], "local")
)
def test_so_do_samples_of_fewer_groups_than_devices(
    model: AdaptedModel, base: Path, two: DeviceGroup, monkeypatch: pytest.MonkeyPatch, way: str, drawn: list[int]
) -> None:
    recipe = device_recipe(base, **WAYS[way][0])
    units = Population.of(records())
    two.prepare(recipe)
    monkeypatch.setattr(clipped_sum, "poisson_batch", lambda *_: np.array(drawn, dtype=np.int64))
    assert same(trained(model, recipe, units, two), trained(model, recipe, units, None))


def test_samples_and_noise_are_drawn_here_and_once(model: AdaptedModel, base: Path, two: DeviceGroup) -> None:
    """The generator is asked for the same, in the same order, as by one process."""

    class Counted(SeededEntropy):
        def bytes(self, count: int, /) -> bytes:
            asked[-1].append(count)
            return super().bytes(count)

    asked: list[list[int]] = []
    recipe = device_recipe(base)
    two.prepare(recipe)
    for devices in (None, two):
        asked.append([])
        trained(model, recipe, Population.of(records()), devices, entropy=Counted("s"))
    assert asked[0] == asked[1]
    assert len(asked[0]) == 1 + 2 * recipe.training.steps_per_round  # masks; a sample and noise for each step


def test_devices_that_were_not_tried_with_a_recipe_take_no_part_in_it(
    model: AdaptedModel, base: Path, two: DeviceGroup, computed: list[Group]
) -> None:
    tried, another = device_recipe(base), device_recipe(base, training={"micro_batch_size": 3})
    two.prepare(tried)
    trained(model, another, Population.of(records()), None)
    alone = len(computed)
    trained(model, another, Population.of(records()), two)
    assert len(computed) == 2 * alone
    two.close()
    trained(model, tried, Population.of(records()), two)
    assert two.pids == []


@pytest.mark.slow
def test_a_device_that_rounds_otherwise_is_refused(
    model: AdaptedModel, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = device_recipe(base)
    monkeypatch.setattr("sealora_client.training.devices.group.bits_of_device", lambda *_: b"others")
    devices = DeviceGroup(model, ["cpu", "cpu"])
    with pytest.raises(ModelError, match=r"^site\.yaml: devices: the worker on cpu \(device 2\) computes other bits"):
        devices.prepare(recipe)
    assert devices.pids == []
