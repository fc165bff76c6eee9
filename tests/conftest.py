"""Fixtures of all tests."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.main
import typer.testing
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # test modules import `tiny_models` by name

from folder_times import FolderTimes

from browser import chromium, visitor  # noqa: F401 (fixtures)
from device_report import DeviceReport

# How long an example takes says how busy a machine is, and nothing of the code.
settings.register_profile("sealora", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sealora")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gpu-report", metavar="PATH", help="write what tests/device found as a table to PATH.md and PATH.json"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--gpu-report") and not hasattr(config, "workerinput"):  # with xdist, only where all is told
        config.pluginmanager.register(DeviceReport(Path(config.getoption("--gpu-report"))))
    if config.getoption("durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FolderTimes())


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device: torch finds no GPU on this machine, so nothing was checked on one")


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk() -> Iterator[None]:
    """No test cuts the power: what a process wrote is there for all others at once, whether or not it is on the disk.

    Waiting for the disk took a small run nearly as long as all else. Tests of what is written in which order watch
    `os.fsync` themselves, and processes that tests start wait as ever.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which fails where the file is none
        yield


@pytest.fixture(scope="session", autouse=True)
def commands_are_built_once() -> Iterator[None]:
    """A command line of some forty commands is built anew at each call of it, which took a thirtieth of all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny_base(kind="llama")`: the directory of a tiny random base model, made once a session. Do not change it."""
    made: dict[str, Path] = {}

    def directory(kind: str = "llama") -> Path:
        if kind not in made:
            from tiny_models import make_tiny_model

            made[kind] = make_tiny_model(tmp_path_factory.mktemp(f"tiny-{kind}"), kind)
        return made[kind]

    return directory


_NUMBERS = itertools.count()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pytest's, by a number instead of the test's name: a Unix socket's path may have no more than 107 bytes."""
    return tmp_path_factory.mktemp(str(next(_NUMBERS)), numbered=False)
