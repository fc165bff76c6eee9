"""One tiny private run and its dossier, made once; each test gets a copy that it may spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sealora_common.identity import Identity
from sealora_server.dossier.write import write_dossier

from tiny_federation import PRIVATE, run_inline, write_federation


@pytest.fixture(scope="session")
def private_run(tiny_base, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("private")
    return run_inline(write_federation(home, tiny_base(), privacy=PRIVATE), home / "run")


@pytest.fixture(scope="session")
def written(private_run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dossier") / "dossier"
    write_dossier(private_run, out, licence="apache-2.0")
    return out


@pytest.fixture
def dossier(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "dossier"))


@pytest.fixture(scope="session")
def server(private_run) -> Identity:
    return Identity.load("server", private_run / "server.pem")
