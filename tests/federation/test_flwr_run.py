"""Flower's own command runs the same apps: the ServerApp prepares the simulated sites, Ray runs the ClientApps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealora_common.records.events import RunFinished

from tiny_federation import events_of, write_federation

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Flower home and a state directory of the test's own; Flower's local SuperLink is stopped afterwards."""
    binaries = Path(sys.executable).parent
    yield os.environ | {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "FLWR_HOME": str(tmp_path / "flwr"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run(["pkill", "-f", "flower-superlink"], check=False)


def flwr(*arguments: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["flwr", *arguments], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_flwr_run_completes_a_federation(tmp_path: Path, tiny_base, environment: dict[str, str]) -> None:
    recipe = write_federation(tmp_path / "federation", tiny_base(), count=3, rounds=2)
    flwr("ls", environment=environment)  # starts the local SuperLink
    flwr("federation", "simulation-config", "@none/default", "local", "--num-supernodes", "3", environment=environment)
    told = flwr("run", ".", "--stream", "--run-config", f'recipe="{recipe}"', environment=environment)
    run = tmp_path / "state" / "sealora" / "flwr-run"
    assert events_of(run, "run_finished"), told
    assert isinstance(events_of(run, "run_finished")[0], RunFinished)
    assert (run / "adapter" / "adapter_model.safetensors").exists()
