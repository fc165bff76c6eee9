"""A passphrase for new keys, from a person or from the file that the environment names."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from sealora_common.errors import PolicyError
from sealora_common.identity import PASSPHRASE_FILE, read_passphrase


def new_passphrase() -> bytes:
    """A passphrase for new keys: from the file that the environment names, else typed twice.

    Raises:
        PolicyError: the file is empty.
        StorageError: the file cannot be read.
    """
    if PASSPHRASE_FILE not in os.environ:
        return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True)).encode()
    passphrase = read_passphrase(Path("identity.pem"))
    if not passphrase:
        raise PolicyError(f"{os.environ[PASSPHRASE_FILE]}: is empty: write the passphrase into it")
    return passphrase


def no_passphrase() -> None:
    """Leaves new keys open."""
