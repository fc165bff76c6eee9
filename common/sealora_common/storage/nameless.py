"""Files without a name: for what is too large for memory and is to be gone with the process, however it ends."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from sealora_common.errors import StorageError, storage_error


def nameless_file() -> BinaryIO:
    """An empty file to write and read, on the disk of the directory for temporary files (`TMPDIR`).

    It never has a name, or loses it before this returns, so nobody else can open it and nothing is left of it after
    a kill or a power cut but blocks that the file system frees. Mode 0600.

    Raises:
        StorageError: it could not be made.
    """
    try:
        return cast(BinaryIO, tempfile.TemporaryFile("w+b"))
    except OSError as error:
        raise no_room_aside(error) from error


def no_room_aside(error: OSError) -> StorageError:
    """What to raise if a nameless file cannot be made or written: names its directory, and how to choose another."""
    said = storage_error(Path(tempfile.gettempdir()), error)
    return StorageError(f"{said}; TMPDIR names another directory for temporary files")
