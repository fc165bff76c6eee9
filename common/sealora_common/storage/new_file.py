"""A large new file, written piece by piece: it has its name once it is whole and on the disk, and never before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sealora_common.errors import StorageError, storage_error
from sealora_common.storage.durable import rename_durably
from sealora_common.storage.lock import locked
from sealora_common.storage.own_files import PRIVATE_FILE, directory_for


@contextmanager
def new_file(path: Path, *, mode: int = PRIVATE_FILE) -> Iterator[BinaryIO]:
    """A stream to write; what was written is at `path`, durably, when the block is left without an error.

    It lies beside `path` until then, as `.NAME.unfinished`, which an error takes away and the next attempt after a
    kill begins anew.

    Args:
        path: the file, whose directory is made if it is missing.
        mode: permission bits of the file.

    Raises:
        StorageError: something is at `path`, another process writes it now, or it cannot be written (also where
            writing to the stream says so by an `OSError`).
    """
    if path.exists() or path.is_symlink():
        raise StorageError(f"{path} exists and is not replaced: name another file, or move it away")
    aside = directory_for(path) / f".{path.name}.unfinished"
    with locked(aside) as descriptor:
        try:
            os.ftruncate(descriptor, 0)
            with os.fdopen(descriptor, "r+b", closefd=False) as stream:
                yield stream
                stream.flush()
                os.fsync(descriptor)
            os.fchmod(descriptor, mode)
            rename_durably(aside, path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise storage_error(path, error) from error
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
