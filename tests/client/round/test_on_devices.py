"""A site on several devices takes part as a site on one does: the same vector, one charge, the same words."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from flwr.app import RecordDict

from sealora_client.site.directory import open_site
from sealora_client.training.clipped_groups import ClippedGroups, Group
from sealora_client.training.devices.choice import close_devices

from neighbours import SIGNATURE_BYTES, World
from site_bench import Bench
from tiny_federation import PRIVATE


@pytest.fixture(autouse=True)
def _as_on_one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    close_devices()
    torch.set_num_threads(threads)


@pytest.fixture
def bench(
    tiny_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Bench, World, World]]:
    """`bench(mechanism)`: the bench, and the first of its sites on one device and on two."""
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "7")

    def make(mechanism: str) -> tuple[Bench, World, World]:
        sealing = {"ring_bits": 24} if mechanism == "distributed" else {}
        training = {"micro_batch_size": 2, "sample_rate": 0.9}
        privacy = {**PRIVATE, "mechanism": mechanism}
        made = Bench(tmp_path / "bench", tiny_base(), privacy=privacy, sealing=sealing, training=training)
        alone, shared = (World(made, tmp_path / name / "site-0", []) for name in ("alone", "shared"))
        name_devices(shared, 2)
        return made, alone, shared

    return make


def name_devices(world: World, devices: int | list[str]) -> None:
    file = world.directory / "site.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"devices": devices}))


def round_of(bench: Bench, world: World, content: RecordDict) -> tuple[bytes, bytes, int]:
    """What the site answers to an order, the vector that it keeps to send, and how often it charged."""
    context = bench.contexts["site-0"]
    context.state = RecordDict()
    answer = world.says("train", content)["config"]["payload"]
    kept = context.state.config_records["sealora"]["encoded"]
    site = open_site(world.directory)
    with site.ledger() as ledger:
        charges = len(ledger.charges(site.data.train_set))
    assert isinstance(kept, bytes)
    return answer[:-SIGNATURE_BYTES], kept, charges


@pytest.mark.parametrize("mechanism", ["local", pytest.param("distributed", marks=pytest.mark.slow)])
def test_a_worker_that_dies_in_a_round_changes_nothing_that_travels_and_costs_no_second_charge(
    bench: Callable[[str], tuple[Bench, World, World]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mechanism: str,
) -> None:
    site, world, shared = bench(mechanism)
    order = site.content(site.order(), site.adapter)
    alone = round_of(site, world, order)
    assert alone[2] == 1
    open_site(shared.directory).prepare()
    devices = open_site(shared.directory).devices()
    assert devices is not None
    killed: list[int] = []
    computed = ClippedGroups.add

    def watched(self: ClippedGroups, group: Group, total: torch.Tensor) -> Any:
        if not killed:
            killed.extend(devices.pids)
            os.kill(killed[0], signal.SIGKILL)
        return computed(self, group, total)

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(ClippedGroups, "add", watched)
        assert round_of(site, shared, order) == alone
    assert len(killed) == 1
    (sentence,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "was ended by SIGKILL" in sentence


def test_a_device_that_is_not_there_is_told_at_the_site_alone(
    bench: Callable[[str], tuple[Bench, World, World]], caplog: pytest.LogCaptureFixture
) -> None:
    site, _, shared = bench("local")
    name_devices(shared, ["cuda:7", "cuda:8"])
    said = shared.says("train", site.content(site.order(), site.adapter))
    assert said == {"config": {"error": "the site takes no part in this; its own log says why"}}
    assert "site.yaml: devices: cuda:7 is asked for, but this machine has" in caplog.text
