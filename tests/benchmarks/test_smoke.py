"""The long benchmarks run, in small, and print the figures that the documents quote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HAS_DEMO = all((ROOT / ".cache" / part).exists() for part in ("smollm2-135m-instruct", "demo"))

pytestmark = pytest.mark.slow


def printed(program: str, *arguments: str) -> dict[str, object]:
    """What a benchmark prints with `--json`."""
    done = subprocess.run(
        [sys.executable, str(HERE / program), *arguments, "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "SEALORA_CACHE": os.environ.get("SEALORA_CACHE", str(ROOT / ".cache"))},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(figures, dict)
    return figures


def test_dp_step() -> None:
    figures = printed("dp_step.py", "--quick")
    for key in (
        "time_ratio",
        "memory_ratio",
        "noise_after_time_ratio",
        "opacus_hooks_time_ratio",
        "opacus_ghost_time_ratio",
    ):
        for suffix in ("", "_ab"):
            assert 0.5 < float(str(figures[key + suffix])) < 10
    assert figures["opake"] in {"works", "is not installed"} or str(figures["opake"]).startswith("fails: ")


def test_devices() -> None:
    figures = printed("devices.py", "--quick")
    assert figures["same_bits"] is True
    assert float(str(figures["speedup"])) > 0


def test_coupling() -> None:
    figures = printed("coupling.py", "--quick")
    assert float(str(figures["worst_sum_change"])) <= 1.0
    assert figures["others_changed"] == 0
    assert int(str(figures["others_changed_variable_shapes"])) > 0  # it would be seen
    assert float(str(figures["time_ratio_fixed_shape"])) > 0
    refused = figures["refused"]
    assert isinstance(refused, dict)
    assert all("does not leave padding out" in said for said in refused.values())
    assert set(refused) == {"rwkv", "recurrent_gemma"}


def test_many_sites() -> None:
    figures = printed("many_sites.py", "--sites", "2", "4", "--engines", "inline")
    assert 0.5 < float(str(figures["inline_ratio"])) < 1.2
    assert int(str(figures["inline_mib_4_sites"])) > 100
    assert int(str(figures["inline_seconds_4_sites"])) > 0


@pytest.mark.skipif(not HAS_DEMO, reason="needs the demo's model and data: `make demo`")
def test_utility(tmp_path: Path) -> None:
    figures = printed("utility.py", "--out", str(tmp_path), "--quick", "--seeds", "1", "--only", "none", "local_eps8")
    assert figures["quick"] is True
    assert {"loss_before", "loss_none", "loss_local_eps8", "recovered_local_eps8"} <= set(figures)


@pytest.mark.skipif(not HAS_DEMO, reason="needs the demo's model and data: `make demo`")
def test_learning() -> None:
    small = ("rounds=1", "training.sample_rate=0.002", "data.heldout_limit=4", "model.quantization=none")
    figures = printed("learning.py", "configs/demo-icd10-distributed.yaml", "training.evaluate_every=1", *small)
    assert figures["parameters"] == 1_244_160
    assert 0 < float(str(figures["loss_after"]).strip("[]")) < 10


def test_round_trip() -> None:
    figures = printed("round_trip.py", "--sites", "2")
    assert 0.1 < float(str(figures["seconds_2_sites"])) < 60
    assert 0.1 < float(str(figures["flower_seconds_per_message"])) < 60


def test_robust() -> None:
    figures = printed("robust.py", "--quick")
    assert {"robust_loss_ratio_2", "backdoor_2", "clean_cost"} <= set(figures)
    assert float(str(figures["robust_loss_ratio_2_mean"])) > float(str(figures["robust_loss_ratio_2"])) > 0
    assert 0.5 < float(str(figures["clean_cost"])) < 2
