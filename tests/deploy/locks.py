"""The lock files in deploy/requirements/, and constraints.txt, which they follow."""

from __future__ import annotations

import re
from pathlib import Path

from deploy_files import PROJECT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCKS = PROJECT / "deploy" / "requirements"
FILES = sorted(LOCKS.glob("*.txt"))
INSTALLED = ("server", "site", "data", "sim", "dev", "bench")
"""Extras with a lock file; torch lies in files of its own."""


def locked(path: Path) -> dict[str, Requirement]:
    """Name -> requirement of a lock file, which must be in the one form there is: a pin, then hashes, one a line."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    found: dict[str, Requirement] = {}
    for line in re.sub(r" *\\\n +", " ", text).splitlines():
        pin, *hashes = line.split(" --hash=")
        assert hashes, f"{path.name}: {pin} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), f"{path.name}: {line}"
        requirement = Requirement(pin)
        name = canonicalize_name(requirement.name)
        assert name not in found, f"{path.name}: {name} stands there twice"
        found[name] = requirement
    return found


def version(requirement: Requirement) -> Version:
    """The version that a requirement pins."""
    (only,) = requirement.specifier
    assert only.operator == "==", requirement
    return Version(only.version)


def constraints() -> dict[str, Version]:
    """Name -> version of constraints.txt."""
    lines = [line for line in (PROJECT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): version(pin) for pin in pins}
