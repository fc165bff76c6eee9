"""The locked requirements: they say what pyproject.toml and constraints.txt say, and every installation reads them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from deploy_files import PROJECT, PYPROJECT
from locks import FILES, INSTALLED, LOCKS, constraints, locked, version
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

BASE: list[str] = PYPROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
PYTHONS = ("3.11", "3.12", "3.13")


def required(extra: str) -> Iterator[Requirement]:
    """What an extra asks for, those it names of ours included."""
    for requirement in map(Requirement, [*BASE, *EXTRAS[extra]]):
        if requirement.name == "sealora":
            for inner in requirement.extras:
                yield from required(inner)
        else:
            yield requirement


@cache
def covered(name: str) -> dict[str, Requirement]:
    """What an installation holds: its lock and torch's."""
    return locked(LOCKS / f"{name}.txt") | ({} if name == "server" else locked(LOCKS / "torch-cuda.txt"))


def test_the_locks_pin_what_constraints_pin_and_nothing_else_and_constraints_nothing_that_is_not_locked() -> None:
    pinned = constraints()
    named: dict[str, set[Version]] = {}
    for path in FILES:
        for name, requirement in locked(path).items():
            named.setdefault(name, set()).add(version(requirement))
    named["torch"] = {Version(found.public) for found in named["torch"]}  # the CPU build is 2.13.0+cpu
    assert {name: {found} for name, found in pinned.items()} == named


@pytest.mark.parametrize("extra", INSTALLED)
def test_a_lock_satisfies_every_requirement_of_its_extra_on_every_python_that_is_supported(extra: str) -> None:
    held = covered(extra)
    wanted = list(required(extra))
    assert len(wanted) > len(BASE)
    for requirement in wanted:
        found = held[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version(found)), requirement
        for python in PYTHONS:
            system = {"sys_platform": "linux", "platform_machine": "x86_64", "python_version": python}
            system |= {"python_full_version": f"{python}.0", "implementation_name": "cpython"}
            if requirement.marker is None or requirement.marker.evaluate(system):
                assert found.marker is None or found.marker.evaluate(system), (requirement, python)
    assert {"data": "datasketch", "dev": "pytest", "bench": "tenseal"}.get(extra, "flwr") in held
    assert (extra == "server") == ("torch" not in held)


def test_what_builds_the_wheel_is_locked_too() -> None:
    held = locked(LOCKS / "build.txt")
    for requirement in map(Requirement, PYPROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(version(held[canonicalize_name(requirement.name)]))
    assert "pip" in held


def test_what_an_environment_lacks_of_a_larger_one_is_in_the_larger_lock() -> None:
    """`make audit` asks about bench, build and torch-cuda, and relies on this."""
    bench = locked(LOCKS / "bench.txt")
    for extra in INSTALLED:
        assert locked(LOCKS / f"{extra}.txt").keys() <= bench.keys()
    assert not {"torch", "triton"} & bench.keys()
    assert not [name for name in bench if name.startswith(("nvidia-", "cuda-"))]


def test_no_lock_names_a_registry_or_anything_but_pins_and_hashes() -> None:
    assert {path.stem for path in FILES} == {*INSTALLED, "build", "torch-cpu", "torch-cuda"}
    for path in FILES:
        assert "://" not in path.read_text()
        assert locked(path)  # which takes nothing else


def installations() -> Iterator[tuple[str, str]]:
    """Each `pip install` that a file of the repository runs or tells to run: (file, command with what follows it).

    Not of the packages, whose messages advise people on installations of their own.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        path = Path(PROJECT / name)
        if name.startswith(("tests/", "common/", "server/", "client/")) or not path.is_file() or path.suffix == ".txt":
            continue
        text = re.sub(r"\\\n\s*", "", path.read_text(errors="replace"))
        for line in text.splitlines():
            for command in re.findall(r"\bpip (?:install|wheel)\b[^&|`]*", line):
                yield name, command.strip()


ALLOWED = (
    r".*(--require-hashes|\$\(LOCKED\)) .*(-r|--requirement) \S*(requirements|REQUIREMENTS)\S+\.txt\b.*",
    r"pip (install|wheel) .*--no-deps .*",  # ours alone: everything it needs is there
    r"pip install --quiet --constraint constraints\.txt \$\(TORCH\)",  # the installer's choice, said in the Makefile
)


def test_nothing_is_installed_without_a_hash() -> None:
    found = list(installations())
    assert {"Makefile", "deploy/Dockerfile", "docs/deployment.md"} <= {name for name, _ in found}
    dockerfile = (PROJECT / "deploy" / "Dockerfile").read_text()
    assert "PIP_REQUIRE_HASHES=1" in dockerfile
    assert "PIP_ONLY_BINARY=:all:" in dockerfile
    for name, command in found:
        shown = (
            command if name != "deploy/Dockerfile" else command.replace("pip install", "pip install --require-hashes")
        )
        assert any(re.fullmatch(rule, shown) for rule in ALLOWED), (name, command)


def test_the_dockerfile_waives_hashes_for_our_own_wheel_alone() -> None:
    text = re.sub(r"\\\n\s*", "", (PROJECT / "deploy" / "Dockerfile").read_text())
    waived = re.findall(r"PIP_REQUIRE_HASHES=0 (\S*pip [^&\n]*)", text)
    assert len(waived) == 4
    assert {re.sub(r"^/opt/sealora/bin/", "", each).strip() for each in waived} == {
        "pip wheel --no-build-isolation --no-deps --wheel-dir /wheels .",
        "pip install --no-deps /wheels/*.whl",
    }
