"""A whole federation whose sites compute on two devices each ends with the adapter of one whose sites have one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from sealora_client.training.clipped_groups import ClippedGroups
from sealora_client.training.devices.choice import close_devices
from sealora_client.training.devices.group import DeviceGroup
from sealora_server.simulation import engine

from tiny_federation import PRIVATE, adapter_bytes, history_of, prepare_run, write_federation


@pytest.mark.slow
def test_a_run_on_two_devices_a_site_is_the_run_on_one(
    tiny_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "5")
    training = {"micro_batch_size": 2, "steps_per_round": 2}
    recipe = write_federation(tmp_path, tiny_base(), privacy=PRIVATE, training=training)
    shares: list[int] = []
    sound = DeviceGroup.add

    def watched(self: DeviceGroup, own: ClippedGroups, groups: list[object], total: torch.Tensor) -> object:
        shares.append(len(self.pids))
        return sound(self, own, groups, total)  # type: ignore[arg-type]

    monkeypatch.setattr(DeviceGroup, "add", watched)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs = []
        for devices in (1, 2):
            runs.append(run := tmp_path / f"run-{devices}")
            roster = prepare_run(recipe, run)
            for site in roster.names:
                file = run / "sites" / site / "site.yaml"
                file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"devices": devices}))
            engine.run_engine(engine.Engine.INLINE, run, list(roster.names))
    finally:
        close_devices()
        torch.set_num_threads(threads)
    one, two = runs
    assert adapter_bytes(one) == adapter_bytes(two)
    assert shares == [1] * 3 * 2 * 2  # a worker at each step of two rounds of three sites
    for site in ("site-0", "site-1", "site-2"):
        without_times = [
            [
                {name: value for name, value in line.items() if "seconds" not in name and name != "run"}
                for line in history_of(run, site)
            ]
            for run in runs
        ]
        assert without_times[0] == without_times[1]
    # A run that is resumed is resumed on its sites' devices.
    prepare_run(recipe, two, resume=True)
    assert yaml.safe_load((two / "sites" / "site-0" / "site.yaml").read_text())["devices"] == 2
