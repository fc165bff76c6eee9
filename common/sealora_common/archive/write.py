"""Makes an archive, which is there whole or not at all."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from sealora_common import __version__
from sealora_common.archive.locked import SALT_BYTES, ArchiveKey
from sealora_common.archive.manifest import MANIFEST, ArchivedFile, ArchiveKind, Manifest, SignedManifest, is_safe_path
from sealora_common.canonical import canonical_json
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import StorageError
from sealora_common.identity import Identity, signature_to_text
from sealora_common.storage.new_file import new_file

_BLOCK = 512
_STEP = 2**20
_LONGEST_FILE = 8**11 - 1
"""Bytes of one file: ustar writes its length as eleven octal digits."""


@contextmanager
def new_archive(
    file: Path, *, kind: ArchiveKind, name: str, identity: Identity, passphrase: bytes | None = None
) -> Iterator[ArchiveWriter]:
    """An archive that is being made, and is at `file` once the block is left without an error.

    Args:
        file: where it goes; nothing may be there.
        kind: what it is of.
        name: of that.
        identity: signs it.
        passphrase: locks the files that are to be locked; None: they lie in it as they are.

    Raises:
        StorageError: something is at `file`, or it cannot be written.
    """
    with new_file(file) as stream:
        writer = ArchiveWriter(stream, kind, name, identity, passphrase)
        yield writer
        writer.finish()


class ArchiveWriter:
    """What `new_archive` gives to add files to."""

    def __init__(
        self, stream: BinaryIO, kind: ArchiveKind, name: str, identity: Identity, passphrase: bytes | None
    ) -> None:
        self._stream = stream
        self._kind: ArchiveKind = kind
        self._name = name
        self._identity = identity
        self._salt = SystemEntropy().bytes(SALT_BYTES) if passphrase is not None else b""
        self._key = None if passphrase is None else ArchiveKey(passphrase, self._salt)
        self._files: dict[str, ArchivedFile] = {}
        self._now = datetime.now(UTC)

    @property
    def paths(self) -> frozenset[str]:
        """Of the files that are in it."""
        return frozenset(self._files)

    def add(self, path: str, content: bytes, *, locked: bool = False, public: bool = False) -> None:
        """Adds a file with this content.

        Raises:
            StorageError: its path is none that an archive can have.
            OSError: it could not be written.
        """
        is_locked = locked and self._key is not None
        stored = self._key.lock(path, content) if locked and self._key is not None else content
        self._head(path, len(stored))
        self._write(stored)
        self._note(path, len(stored), hashlib.sha256(stored).hexdigest(), locked=is_locked, public=public)

    def add_file(self, path: str, source: BinaryIO, length: int, *, public: bool = False) -> None:
        """Adds the next `length` bytes of an open file.

        Raises:
            StorageError: its path is none that an archive can have, it is too long, or was cut meanwhile.
            OSError: it could not be read or written.
        """
        self._head(path, length)
        digest, left = hashlib.sha256(), length
        while left:
            piece = source.read(min(_STEP, left))
            if not piece:
                raise StorageError(f"{path} became shorter while it was read: run the same command again")
            digest.update(piece)
            self._write(piece)
            left -= len(piece)
        self._note(path, length, digest.hexdigest(), locked=False, public=public)

    def _head(self, path: str, length: int) -> None:
        if not is_safe_path(path) or path in self._files:
            raise StorageError(f"{path!r} cannot be put into an archive by this name: rename the file")
        if length > _LONGEST_FILE:
            raise StorageError(
                f"{path} is larger than an archive takes of one file: copy this directory by other means"
            )
        info = tarfile.TarInfo(path)
        info.size, info.mode, info.mtime = length, 0o600, int(self._now.timestamp())
        try:
            self._write(info.tobuf(tarfile.USTAR_FORMAT))
        except ValueError:
            raise StorageError(f"{path!r} is too long a name for an archive: rename the file") from None

    def _note(self, path: str, length: int, digest: str, *, locked: bool, public: bool) -> None:
        self._write(bytes(-length % _BLOCK))
        self._files[path] = ArchivedFile(path=path, length=length, sha256=digest, locked=locked, public=public)

    def finish(self) -> None:
        """Writes the manifest: without it an archive is none."""
        files = tuple(self._files.values())
        manifest = Manifest(
            kind=self._kind,
            name=self._name,
            release=__version__,
            created=self._now.isoformat(timespec="seconds"),
            public_key=self._identity.public_key_text,
            salt=self._salt.hex() if any(file.locked for file in files) else "",
            files=files,
        )
        signature = signature_to_text(self._identity.sign(manifest.signed_bytes))
        signed = canonical_json(SignedManifest(manifest=manifest, signature=signature).model_dump(mode="json"))
        self._head(MANIFEST, len(signed))
        self._write(signed + bytes(-len(signed) % _BLOCK) + bytes(2 * _BLOCK))

    def _write(self, content: bytes) -> None:
        self._stream.write(content)
