"""A server's and a site's machine lost in the middle of a run, and put back from a backup: real processes, over TLS."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from deployed import SECONDS, Deployed, DeployedRun
from running_server import SEALORA, run_status, running, said, status, until

from sealora_common.records.events import RoundFinished
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.run.store import RunStore

pytestmark = pytest.mark.slow
SITE = "from sealora_client.cli import main; main()"


def types(program: str, *words: object) -> str:
    """A command, as an operator types it; what it said."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("lost")
    (made / "word").write_text("correct horse\n")
    return made


@pytest.fixture(scope="module")
def federation(directory, tiny_base) -> Iterator[Deployed]:
    with Deployed(directory, tiny_base()) as federation:
        yield federation


def supervisor(server: ServerDirectory) -> psutil.Process:
    (superlink,) = (process for process in status(server).processes if process.name == "superlink")
    return psutil.Process(superlink.pid).parent()


def test_a_site_is_put_back_in_the_midst_of_a_round_and_spends_nothing_twice(federation, directory):
    site = federation.sites["site-1"]
    site.die_at("mask", 2, "before")  # charged, trained, and nothing of it has left
    run = federation.submit("second")
    site.wait_for_death()
    before = site.charges(run.run_id)
    file, word = directory / "site.tar", ["--passphrase-file", directory / "word"]
    types(SITE, "backup", file, "--directory", site.directory, *word)
    kept = (site.directory / "masked.log").read_bytes()
    shutil.rmtree(site.directory)
    types(SITE, "restore", file, site.directory, "--spent-since", "nothing", *word)
    (site.directory / "masked.log").write_bytes(kept)
    site.start()
    outcome = run.until_over()
    assert outcome.condition == "finished", outcome.said
    run.is_right()
    assert [row.id for row in site.charges(run.run_id)][: len(before)] == [row.id for row in before]


def test_a_server_is_put_back_in_the_midst_of_a_round_and_its_run_goes_on(federation, directory):
    run = federation.submit("first")
    until(lambda: run.events(RoundFinished), SECONDS, lambda: said(federation.server))
    held = federation.sites["site-2"].process
    held.send_signal(signal.SIGSTOP)  # so that round 2 is under way, and not over, while the server is backed up
    try:
        file, word = directory / "server.tar", ["--passphrase-file", directory / "word"]
        shown = types(SEALORA, "server", "backup", file, *word, "--config", federation.server.config_file)
        assert "run first: 1 rounds" in shown
        port = status(federation.server).address.rpartition(":")[2]
        supervisor(federation.server).kill()
        restored = ServerDirectory(directory / "restored" / "server.yaml")
        types(SEALORA, "server", "restore", file, restored.path, *word)
    finally:
        held.send_signal(signal.SIGCONT)
    assert RunStore.open(restored.runs / "first").finished_rounds == 1
    values = yaml.safe_load(restored.config_file.read_text()) | {"listen": f"127.0.0.1:{port}"}
    restored.config_file.write_text(yaml.safe_dump(values))
    shutil.rmtree(federation.server.path / "runs" / "first")
    federation.server = ServerDirectory(restored.config_file)
    with running(federation.server):
        outcome = DeployedRun(federation, "first").until_over()
        assert outcome.condition == "finished", outcome.said
        run.is_right()
        assert run_status(federation.server, "second").condition == "finished"
        checked = subprocess.run(
            [sys.executable, "-c", SEALORA, "server", "check", "--config", str(restored.config_file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout
        assert "pass  reach        localhost:" in checked.stdout
        assert "pass  sites        all 3 are connected" in checked.stdout
