"""Where randomness comes from: the operating system, or, in tests only, a seed.

Keys, masks, noise, sampling and rounding all draw through an `Entropy`. The ordinary one reads the kernel's
generator. A seeded one exists so that a test can compare two runs bit for bit; it must be asked for by
setting `SEALORA_INSECURE_SEED` in the site's own environment (no order from a server can switch it on), every
process that honours it says so, and only a development installation (`pip install --editable`) does: one that was
installed from a release refuses it.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sealora_common.config import json_value
from sealora_common.errors import PolicyError, UnreadableError

SEED_VARIABLE = "SEALORA_INSECURE_SEED"


class Entropy(Protocol):
    """A source of uniformly random bytes."""

    def bytes(self, count: int, /) -> bytes:
        """Returns `count` fresh random bytes."""
        ...


class SystemEntropy:
    """The kernel's cryptographic generator (getrandom(2))."""

    def bytes(self, count: int, /) -> bytes:
        return os.urandom(count)


class SeededEntropy:
    """A reproducible stream (AES-256-CTR under SHA-256 of the seed). FOR TESTS: whoever knows the seed knows all."""

    def __init__(self, *seed: str | int) -> None:
        key = hashlib.sha256("\x1f".join(str(part) for part in seed).encode()).digest()
        self._stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def bytes(self, count: int, /) -> bytes:
        return self._stream.update(bytes(count))


def site_entropy(*purpose: str | int) -> Entropy:
    """The entropy a site draws from for one `purpose` (site name, round, what it is for).

    Returns the kernel's generator unless the environment asks for the insecure test seed, in which case the
    stream depends on the seed and the purpose, so that it does not depend on the order of the draws elsewhere.

    Raises:
        PolicyError: the seed is asked for in an installation that is not for development.
    """
    seed = os.environ.get(SEED_VARIABLE)
    if seed is None:
        return SystemEntropy()
    if not _is_development_installation():
        raise PolicyError(
            f"{SEED_VARIABLE} is set, which makes noise, masks and keys predictable: this installation is not for "
            "development and refuses it: unset the variable"
        )
    warnings.warn(
        f"{SEED_VARIABLE} is set: noise, masks and keys are predictable and protect nothing. For tests only.",
        stacklevel=2,
    )
    return SeededEntropy(seed, *purpose)


@lru_cache(maxsize=1)
def _is_development_installation() -> bool:
    """Whether the code runs from its source tree, by what pip noted at the installation (PEP 610)."""
    try:
        origin = json_value(distribution("sealora").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, UnreadableError):
        return False
    info = origin.get("dir_info") if isinstance(origin, dict) else None
    return isinstance(info, dict) and bool(info.get("editable", False))


def insecure_seed_in_use() -> bool:
    """Whether this process draws from the insecure test seed."""
    return SEED_VARIABLE in os.environ
