"""The passphrase of an archive, from a file that a person names or typed at the terminal."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from sealora_common.config import SMALL, read_file, why_not
from sealora_common.errors import StorageError, UnreadableError


def archive_passphrase(file: Path | None, *, new: bool) -> bytes:
    """The passphrase.

    Args:
        file: holds it, but for the end of its line; None: it is typed.
        new: of an archive that is made now, so it is typed twice.

    Raises:
        StorageError: the file cannot be read or is empty, there is no terminal, or what was typed differs.
    """
    if file is not None:
        try:
            found = read_file(file, SMALL.longest).rstrip(b"\r\n")
        except (OSError, UnreadableError) as error:
            raise StorageError(f"{file}: the passphrase file cannot be read ({why_not(error)}): correct it") from None
        if not found:
            raise StorageError(f"{file}: is empty: write the passphrase into it")
        return found
    if not sys.stdin.isatty():
        raise StorageError(
            "private keys go into an archive, or come out of it, by a passphrase, and there is no terminal to ask at: "
            "name a file that holds it with --passphrase-file"
        )
    typed = getpass.getpass("Passphrase of the archive: ").encode()
    if new and getpass.getpass("The same again: ").encode() != typed:
        raise StorageError("the two passphrases differ: run the command again")
    if not typed:
        raise StorageError("an empty passphrase locks nothing: run the command again")
    return typed
