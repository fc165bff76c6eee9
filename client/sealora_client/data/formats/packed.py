"""Opening a file of data, packed (gzip, bzip2, xz, Zstandard) or not, within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from sealora_common.errors import DataError
from sealora_common.show.size_text import size_text
from sealora_common.storage.nameless import nameless_file, no_room_aside

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ALWAYS = 64 * 2**20
_TIMES = 100
"""What a file may unpack to: so many bytes, or so many times its size. Text packs to a tenth, seldom a thirtieth."""
_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\x00": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
}
SUFFIXES = frozenset(_MAGIC.values())


def unpacked_name(path: Path) -> Path:
    """The path without the suffix of its packing, if it has one."""
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's content, unpacked, as a stream that can be read once.

    Raises:
        DataError: in the body too: it is no file, cannot be read, is not packed as its name says, ends too early, or
            unpacks to far more than it is.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            # It is read anew for every message, and opening a pipe waits for whoever writes to it.
            raise DataError(f"{path} is no file, but a directory, pipe or device: name a file of records")
        with path.open("rb") as file:
            packing = _packing(path, file.read(8))
            file.seek(0)
            if not packing:
                yield file
                return
            longest = max(_ALWAYS, _TIMES * found.st_size)
            with io.BufferedReader(_Unpacking(path, _unpacker(packing, file), longest), 2**20) as unpacked:
                yield cast(BinaryIO, unpacked)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the path of this site's records") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from error


@contextmanager
def seekable(path: Path) -> Iterator[BinaryIO]:
    """As `opened`, for what is not read from its beginning to its end: a packed file is unpacked aside.

    Raises:
        StorageError: there is no room for that.
    """
    with opened(path) as stream:
        if path.suffix.lower() not in SUFFIXES:
            yield stream
            return
        with nameless_file() as aside:
            try:
                shutil.copyfileobj(stream, aside, 2**20)
                aside.seek(0)
            except OSError as error:
                raise no_room_aside(error) from error
            yield aside


def _packing(path: Path, head: bytes) -> str:
    """The suffix of the file's packing; empty if it has none."""
    named = path.suffix.lower() if path.suffix.lower() in SUFFIXES else ""
    found = next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), "")
    if found == named:
        return named
    if found:
        raise DataError(f"{path} is packed as {found} files are: add {found} to its name, or unpack it")
    raise DataError(f"{path} is no {named} file, whatever its name says: take {named} off its name, or pack it")


def _unpacker(packing: str, file: BinaryIO) -> BinaryIO:
    match packing:
        case ".gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=file))
        case ".bz2":
            return cast(BinaryIO, bz2.BZ2File(file))
        case ".xz":
            return cast(BinaryIO, lzma.LZMAFile(file))
        case _:
            import pyarrow  # here, because most files need none of it

            return cast(BinaryIO, pyarrow.CompressedInputStream(pyarrow.PythonFile(file), "zstd"))


class _Unpacking(io.RawIOBase):
    """What an unpacker reads, up to a bound, with its failures in words."""

    def __init__(self, path: Path, unpacker: BinaryIO, longest: int) -> None:
        self._path = path
        self._unpacker = unpacker
        self._longest = longest
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Buffer) -> int:
        view = memoryview(into).cast("B")
        try:
            content = self._unpacker.read(len(view))
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise DataError(
                f"{self._path}: cannot be unpacked to its end, so it is damaged or was cut off: copy or pack it again"
            ) from error
        self._read += len(content)
        if self._read > self._longest:
            raise DataError(
                f"{self._path}: unpacks to more than {size_text(self._longest)}, {_TIMES} times what text packs to or "
                "more: unpack it yourself if that is meant"
            )
        view[: len(content)] = content
        return len(content)
