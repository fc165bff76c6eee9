"""The other engine: Flower's simulation engine, with the sites in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_federation import write_federation

pytestmark = pytest.mark.slow


def test_the_ray_engine_completes_what_the_inline_engine_does(tmp_path: Path, tiny_base) -> None:
    recipe = write_federation(tmp_path / "federation", tiny_base(), count=3, rounds=2)
    sealora = Path(sys.executable).with_name("sealora")
    results = {}
    for engine in ("inline", "ray"):
        out = tmp_path / engine
        done = subprocess.run(
            [sealora, "simulate", recipe, "--out", out, "--engine", engine],
            env=os.environ | {"OMP_NUM_THREADS": "1", "SEALORA_INSECURE_SEED": "7"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        results[engine] = json.loads((out / "summary.json").read_text())
    assert results["ray"]["rounds_finished"] == results["inline"]["rounds_finished"] == 2
    assert results["ray"]["heldout_loss_after"] == pytest.approx(results["inline"]["heldout_loss_after"], rel=1e-4)
