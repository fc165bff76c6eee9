"""Reads an archive, whoever wrote it: nothing is used before its signature, and each file before its digest, holds.

Its own tar reader, of plain files alone: no links, devices, sparse files or extended headers, so nothing leads out of
the directory that files are put into, and nothing unpacks to more than it takes up in the archive.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sealora_common.archive.locked import ArchiveKey
from sealora_common.archive.manifest import MANIFEST, ArchivedFile, ArchiveKind, Manifest, SignedManifest, is_safe_path
from sealora_common.config import LARGE, from_json, why_not
from sealora_common.errors import StorageError, UnreadableError, storage_error
from sealora_common.storage.durable import rename_durably
from sealora_common.storage.new_file import new_file
from sealora_common.storage.own_files import PRIVATE_FILE, PUBLIC_FILE, directory_for, make_directory

_BLOCK = 512
_STEP = 2**20
_LONGEST_LOCKED = 2**31 - 1
"""Bytes of a locked file: it is decrypted in memory, and OpenSSL takes no more at once."""
_MOST_MEMBERS = 1_000_001
_NO_END = "it has no end: it was cut short, or is no archive of Sealora's"

Passphrase = Callable[[], bytes]
"""Asked for when the archive is known to be whole and holds locked files."""


@dataclass(frozen=True)
class _Member:
    path: str
    offset: int
    length: int


@contextmanager
def opened_archive(file: Path, kind: ArchiveKind | None = None) -> Iterator[Archive]:
    """An archive whose manifest was read and whose signature holds; whose it is, is for the caller to ask.

    Args:
        file: the archive.
        kind: what it must be of; None: anything.

    Raises:
        StorageError: it cannot be read, is none, was cut short or changed, or is of something else.
    """
    try:
        stream = file.open("rb")
    except OSError as error:
        raise StorageError(f"{file}: cannot be read ({why_not(error)}): name an archive's file") from None
    with stream:
        try:
            archive = Archive(file, stream)
        except OSError as error:
            raise StorageError(f"{file}: cannot be read ({why_not(error)}): check the disk") from None
        found = archive.manifest.kind
        if kind not in {None, found}:
            raise StorageError(f"{file}: is the archive of a {found}, not of a {kind}: name another file")
        yield archive


class Archive:
    """What `opened_archive` gives: its manifest, and its files."""

    def __init__(self, file: Path, stream: BinaryIO) -> None:
        self.file = file
        self._stream = stream
        members = list(self._members())
        if not members or members[-1].path != MANIFEST:
            raise self._wrong(_NO_END)
        last = members.pop()
        if last.length > LARGE.longest:
            raise self._wrong("its manifest is too long")
        try:
            signed = from_json(SignedManifest, self._bytes(last.offset, last.length), LARGE)
        except UnreadableError as error:
            raise self._wrong(f"its manifest cannot be read ({error}): a later Sealora may have made it") from None
        if not signed.holds:
            raise self._wrong("its signature does not hold")
        self.manifest: Manifest = signed.manifest
        told = [(each.path, each.length) for each in self.manifest.files]
        if told != [(member.path, member.length) for member in members]:
            raise self._wrong("its files are not those that its manifest tells of")
        self._places = {member.path: member.offset for member in members}

    @property
    def files(self) -> tuple[ArchivedFile, ...]:
        """What is in it."""
        return self.manifest.files

    @property
    def is_locked(self) -> bool:
        """Whether it takes a passphrase to read all of it."""
        return any(each.locked for each in self.files)

    def verify(self) -> None:
        """Reads every file and compares it with its digest.

        Raises:
            StorageError: one was changed; names it.
        """
        for each in self.files:
            for _ in self._pieces(each):
                pass

    def read(self, path: str, passphrase: Passphrase | None = None) -> bytes:
        """One file of it.

        Raises:
            StorageError: it is not there, was changed, or cannot be unlocked.
        """
        found = next((each for each in self.files if each.path == path), None)
        if found is None:
            raise self._wrong(f"it holds no {path}")
        stored = b"".join(self._pieces(found))
        return self._key(passphrase).unlock(path, stored) if found.locked else stored

    def extract(
        self, directory: Path, passphrase: Passphrase | None = None, finish: Callable[[Path], None] = lambda made: None
    ) -> None:
        """Puts all files into a new directory, which is there whole or not at all.

        Args:
            directory: nothing may be there, but an empty directory.
            passphrase: asked for if there are locked files.
            finish: called with the directory aside, in which all files are, before it gets its name.

        Raises:
            StorageError: something is there; a file was changed or cannot be unlocked; or it could not be written.
        """
        require_free(directory)
        aside = directory_for(directory) / f".{directory.name}.restoring"
        try:
            if aside.exists() or aside.is_symlink():
                shutil.rmtree(aside)
            make_directory(aside)
            key = self._key(passphrase) if self.is_locked else None
            for each in self.files:
                self._put(each, aside / each.path, key)
            finish(aside)
            rename_durably(aside, directory)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise storage_error(directory, error) from error
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise

    def _put(self, each: ArchivedFile, path: Path, key: ArchiveKey | None) -> None:
        make_directory(path.parent)
        with new_file(path, mode=PUBLIC_FILE if each.public else PRIVATE_FILE) as stream:
            if each.locked and key is not None:
                stream.write(key.unlock(each.path, b"".join(self._pieces(each))))
                return
            for piece in self._pieces(each):
                stream.write(piece)

    def _key(self, passphrase: Passphrase | None) -> ArchiveKey:
        if passphrase is None or not self.manifest.salt:
            raise self._wrong("it is locked by a passphrase")
        return ArchiveKey(passphrase(), bytes.fromhex(self.manifest.salt))

    def _pieces(self, each: ArchivedFile) -> Iterator[bytes]:
        """The file's bytes as they lie there; the last ones come only if all were those that the manifest tells of."""
        if each.locked and each.length > _LONGEST_LOCKED:
            raise self._wrong(f"{each.path} is too large to be unlocked")
        digest, offset, left, held = hashlib.sha256(), self._places[each.path], each.length, b""
        while left:
            piece = self._bytes(offset, min(_STEP, left))
            digest.update(piece)
            offset, left = offset + len(piece), left - len(piece)
            if left:
                yield piece
            held = piece
        if digest.hexdigest() != each.sha256:
            raise self._wrong(f"{each.path} in it was changed or damaged")
        if held:
            yield held

    def _members(self) -> Iterator[_Member]:
        """The archive's plain files in their order; anything else is refused by name."""
        position, seen, end = 0, 0, self._stream.seek(0, os.SEEK_END)
        while (header := self._bytes(position, _BLOCK)) != bytes(_BLOCK):
            try:
                info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
            except (tarfile.HeaderError, UnicodeDecodeError):
                raise self._wrong("it is no archive of Sealora's, or was damaged") from None
            seen += 1
            if info.type != tarfile.REGTYPE or not is_safe_path(info.name) or info.size < 0 or seen > _MOST_MEMBERS:
                raise self._wrong(f"it holds something that is no plain file below it ({info.name!r}): do not use it")
            position += _BLOCK
            yield _Member(info.name, position, info.size)
            position += info.size + -info.size % _BLOCK
            if position > end:
                raise self._wrong(_NO_END)

    def _bytes(self, offset: int, length: int) -> bytes:
        self._stream.seek(offset)
        found = self._stream.read(length)
        if len(found) != length:
            raise self._wrong(_NO_END)
        return found

    def _wrong(self, why: str) -> StorageError:
        return StorageError(f"{self.file}: {why}: take another copy of it")


def require_free(directory: Path) -> None:
    """Refuses a place where something is already.

    Raises:
        StorageError: there is something but an empty directory.
    """
    if directory.is_symlink() or (directory.exists() and not (directory.is_dir() and not any(directory.iterdir()))):
        raise StorageError(
            f"{directory}: there is something already, and nothing is replaced: name a new directory, or move it away"
        )
