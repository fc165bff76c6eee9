"""What is installed, beside what this Sealora was made for."""

from __future__ import annotations

import platform
import re
import ssl
from collections.abc import Iterator
from importlib import metadata

from sealora_common import __version__
from sealora_common.health.finding import Finding, passed, warned

_EXACT = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)==(?P<version>[^;,\s]+)")


def check_versions() -> Iterator[Finding]:
    """The versions that matter to sites, and packages of another version than the one that is asked for by number."""
    python, openssl = platform.python_version(), ssl.OPENSSL_VERSION
    yield passed("versions", f"Sealora {__version__}, Python {python}, {openssl}; every site needs this Sealora, too")
    for name, wanted in _asked_for():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed
        if found != wanted:
            yield warned("versions", f"{name} is {found}, and Sealora was made for {wanted}: install that one")


def _asked_for() -> Iterator[tuple[str, str]]:
    try:
        requirements = metadata.requires("sealora") or []
    except metadata.PackageNotFoundError:
        return
    for requirement in sorted(set(requirements)):
        if found := _EXACT.match(requirement):
            yield found["name"], found["version"]
