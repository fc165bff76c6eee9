"""The sealing benchmark runs and reports every figure that is followed over time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLLOWED = {
    "mask_seconds_10m",
    "flower_mask_seconds_10m",
    "mask_ratio_10m",
    "keystream_ratio_10m",
    "bytes_per_param",
    "flower_bytes_per_param",
    "ckks_bytes_per_param",
    "rel_error_default",
    "rel_error_32bit",
    "dp_noise_to_error",
    "server_memory_ratio_256_16",
    "open_seconds_64",
    "open_seconds_256",
    "pq_overhead_stage",
    "influence_ratio",
    "bytes_per_site_round_overhead_10",
    "bytes_per_site_round_overhead_100",
}


@pytest.mark.slow
def test_a_quick_run_prints_one_json_object_with_every_figure() -> None:
    script = Path(__file__).parent / "seal.py"
    run = subprocess.run(
        [sys.executable, script, "--quick", "--json"], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert figures.keys() >= FOLLOWED
