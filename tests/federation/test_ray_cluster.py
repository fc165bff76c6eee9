"""A simulation over two Ray nodes, which stand for two machines: the sites' work is done on both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sealora_common.records.names import ROUND_ASIDE

from tiny_federation import events_of, write_federation

pytestmark = pytest.mark.slow

SEALORA = Path(sys.executable).with_name("sealora")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "SEALORA_INSECURE_SEED": "7", "RAY_worker_niceness": "0"}
_SECONDS = 1800


@pytest.fixture
def cluster(monkeypatch) -> Iterator:
    from ray.cluster_utils import Cluster

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def raylets(cluster) -> list[psutil.Process]:
    """The process of each node that starts its workers."""
    return [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in cluster.list_all_nodes()]


def answers_for_sites(raylet: psutil.Process) -> bool:
    """Whether a worker of this node is at work on a message to a site."""
    try:
        return any("ClientAppActor.run" in " ".join(worker.cmdline()) for worker in raylet.children(recursive=True))
    except psutil.Error:
        return False


def test_sites_are_simulated_on_every_node_of_a_cluster(cluster, tiny_base, tmp_path):
    recipe = write_federation(tmp_path / "federation", tiny_base(), count=4, rounds=2)
    results = {}
    for engine, where in (("inline", []), ("ray", ["--ray-address", cluster.address])):
        out = tmp_path / engine
        with (tmp_path / f"{engine}.txt").open("w") as said:
            command = [SEALORA, "simulate", recipe, "--out", out, "--engine", engine, *where]
            run = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        worked: set[int] = set()
        deadline = time.monotonic() + _SECONDS
        try:
            while run.poll() is None and time.monotonic() < deadline:
                worked |= {raylet.pid for raylet in raylets(cluster) if answers_for_sites(raylet)}
                time.sleep(0.2)
        finally:
            run.kill()
        assert run.wait() == 0, (tmp_path / f"{engine}.txt").read_text()
        assert worked == ({raylet.pid for raylet in raylets(cluster)} if engine == "ray" else set())
        results[engine] = json.loads((out / "summary.json").read_text())
        assert not events_of(out, "site_failed")
        assert not list((out / "sites").glob(f"*/{ROUND_ASIDE}"))
    assert results["ray"]["rounds_finished"] == results["inline"]["rounds_finished"] == 2
    assert results["ray"]["heldout_loss_after"] == pytest.approx(results["inline"]["heldout_loss_after"], rel=1e-4)


def test_a_cluster_that_is_not_there_is_said_in_one_sentence(tiny_base, tmp_path):
    recipe = write_federation(tmp_path / "federation", tiny_base(), count=3, rounds=1)
    done = subprocess.run(
        [SEALORA, "simulate", recipe, "--out", tmp_path / "run", "--engine", "ray", "--ray-address", "127.0.0.1:1"],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: no Ray cluster can be joined at 127.0.0.1:1")
    assert "start its head with `ray start --head`" in last
    assert "Traceback" not in done.stdout + done.stderr
