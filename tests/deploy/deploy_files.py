"""What lies in deploy/, and what the code says to it: which commands, ports and environment variables there are."""

from __future__ import annotations

import importlib.util
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
from sealora_client.site_config import SiteConfig
from sealora_server.cli import cli as server_cli
from sealora_server.deployment.config import HealthSection, ServerConfig

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

STOP_SECONDS = {"sealora": 30, "sealora-site": 30}
"""More than a stop takes: the server gives runs 10 s, front and SuperLink 5 s each; a site its message and its goodbye
8 s each."""

_READERS = {
    "CUDA_CACHE_PATH": None,  # the CUDA driver
    "HOME": None,
    "NVIDIA_DRIVER_CAPABILITIES": None,  # the NVIDIA Container Toolkit
    "OMP_NUM_THREADS": None,  # OpenMP
    "PATH": None,
    "PYTHONDONTWRITEBYTECODE": None,
    "PYTHONUNBUFFERED": None,
    "FLWR_": "flwr",
    "HF_": "huggingface_hub",
    "SEALORA_": "sealora_common sealora_server sealora_client",
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
    for name in names:
        assert name != "SEALORA_INSECURE_SEED"
        prefix = next((known for known in _READERS if name == known or (known[-1] == "_" and name.startswith(known))), "")
        assert prefix, f"{name}: who reads it?"
        packages = _READERS[prefix]
        assert packages is None or any(_names(package, name) for package in packages.split()), f"{name}: nobody reads it"


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
