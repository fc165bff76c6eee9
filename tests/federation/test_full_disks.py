"""A disk that is full, really full, at the server and at a site, in a whole run of real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deployed import Deployed, DeployedRun
from running_server import said, until

from sealora_common.records.events import RoundFinished
from sealora_server.deployment.operator.messages import Resume
from sealora_server.deployment.operator.socket import ask

pytestmark = pytest.mark.slow


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """What `directory` holds, on a file system of 32 MB."""
    aside = directory.with_name(directory.name + ".aside")
    directory.rename(aside)
    directory.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        shutil.copytree(aside, directory, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def full(directory: Path) -> Iterator[None]:
    """The disk that `directory` is on, without a byte left."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            while True:
                try:
                    if file.write(bytes(size)) < size:
                        break
                except OSError:
                    break
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture(scope="module")
def federation(tiny_base, tmp_path_factory) -> Iterator[Deployed]:
    federation = Deployed(tmp_path_factory.mktemp("disks"), tiny_base())
    federation.server.runs.mkdir(exist_ok=True)
    with small_disk(federation.server.runs), small_disk(federation.directory("site-1")), federation:
        yield federation


def until_first_round(run: DeployedRun) -> None:
    until(lambda: run.events(RoundFinished), 120, lambda: said(run.federation.server))


def goes_on(run: DeployedRun) -> None:
    first = (run.directory / "rounds" / "0001" / "round.json").read_bytes()
    ask(run.federation.server.operator_socket, Resume(run=run.name))
    status = run.until_over()
    assert status.condition == "finished", status.said
    assert (run.directory / "rounds" / "0001" / "round.json").read_bytes() == first
    run.is_right()


def test_at_the_server_the_run_stops_with_a_sentence_and_goes_on_when_it_is_told(federation):
    run = federation.submit("full-server")
    until_first_round(run)
    with full(federation.server.runs):
        status = run.until_over()
        assert status.condition == "failed"
        assert "the disk is full" in status.said
        assert "\n" not in status.said
        print(f"\nserver's disk full: {status.said}")
    goes_on(run)


def test_at_a_site_the_order_is_refused_and_the_run_goes_on_when_there_is_space_again(federation):
    site = federation.sites["site-1"]
    run = federation.submit("full-site")
    until_first_round(run)
    charged = len(site.charges(run.run_id))
    with full(site.directory):
        status = run.until_over()
        assert status.condition == "failed"
        assert "site-1" in status.said
        print(f"\nsite's disk full: {status.said}")
        assert site.process is not None
        assert site.process.poll() is None  # the site is still up
    assert len(site.charges(run.run_id)) <= charged + 2  # one of training, one of its evaluation
    assert any(said in site.said() for said in ("the disk is full", "disk I/O error"))
    assert os.access(site.directory / "ledger.sqlite", os.W_OK)
    goes_on(run)
