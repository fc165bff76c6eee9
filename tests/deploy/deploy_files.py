"""What lies in deploy/, and what the code says to it: which commands, ports and environment variables there are."""

from __future__ import annotations

import importlib.util
import inspect
import os
import shutil
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from sealora_client.cli import cli as site_cli
from sealora_client.cli.run import run
from sealora_client.site.config import SiteConfig
from sealora_common.entropy import SEED_VARIABLE
from sealora_server.cli import cli as server_cli
from sealora_server.deployment import supervisor
from sealora_server.deployment.config import HealthSection, ServerConfig
from sealora_server.deployment.runs import managed as runs

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
PYPROJECT: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())
VERSION: str = PYPROJECT["project"]["version"]

APPS = {"sealora": server_cli, "sealora-site": site_cli}
ACCOUNT = 10001

FRONT_PORT = int(ServerConfig.model_fields["listen"].default.rpartition(":")[2])
HEALTH_PORTS = {
    "sealora": int(HealthSection.model_fields["http"].default.rpartition(":")[2]),
    "sealora-site": int(SiteConfig.model_fields["health"].default.rpartition(":")[2]),
}

STOP_SECONDS = {
    "sealora": runs._STOP_SECONDS + 2 * supervisor._STOP_SECONDS,  # the runs, then the front, then the SuperLink
    "sealora-site": 3 * inspect.signature(run).parameters["grace"].default,  # what is in hand, then two goodbyes
}
"""Longest that a stop takes."""

_ELSEWHERE = {
    "CUDA_CACHE_PATH",  # the CUDA driver
    "HOME",
    "NVIDIA_DRIVER_CAPABILITIES",  # the NVIDIA Container Toolkit
    "OMP_NUM_THREADS",  # OpenMP
    "PATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONUNBUFFERED",
}
"""Variables that no Python package reads."""
_READERS = {
    "FLWR": ("flwr",),
    "HF": ("huggingface_hub",),
    "SEALORA": ("sealora", "sealora_common", "sealora_server", "sealora_client"),
}


def check_command(program: str, arguments: list[str]) -> None:
    """Fails unless `program` takes this command line. Nothing is run."""
    command = typer.main.get_command(APPS[program])
    words = list(arguments)
    while isinstance(command, click.Group):
        assert words, f"{program} {arguments}: not a whole command"
        assert words[0] in command.commands, f"{program} {arguments}: no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    command.make_context(program, words)


def check_environment(names: Iterable[str]) -> None:
    """Fails unless somebody reads each of these environment variables, and none switches off what protects a site."""
    for name in set(names) - _ELSEWHERE:
        assert name != SEED_VARIABLE
        packages = _READERS.get(name.partition("_")[0], ())
        assert any(_names(package, name) for package in packages), f"{name}: nobody reads it"


@cache
def _names(package: str, variable: str) -> bool:
    """Whether the source of an installed package names a variable."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    files = Path(spec.submodule_search_locations[0]).rglob("*.py")
    return any(f'"{variable}"' in file.read_text(encoding="utf-8", errors="replace") for file in files)


def tool(name: str) -> str:
    """The path of a program that checks something; skips the test where it is missing."""
    path = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if path is None:
        pytest.skip(f"{name} is not installed here: this check did not run")
    return path
