"""What an archive says of itself: its last member, signed by whoever made it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.canonical import canonical_json
from sealora_common.identity import (
    PublicKeyText,
    SignatureText,
    key_fingerprint,
    key_from_text,
    signature_from_text,
    verify,
)

MANIFEST = "manifest.json"
"""Name of the archive's last member."""
LONGEST_PATH = 250
_PATH = re.compile(r"[A-Za-z0-9_.@+-]+(/[A-Za-z0-9_.@+-]+){0,15}")
_SIGNED_AS = b"sealora archive v1\n"

ArchiveKind = Literal["server", "site", "run"]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ArchivedFile(BaseModel):
    """One file of an archive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, Field(max_length=LONGEST_PATH)]
    """From the directory, with slashes."""
    length: Annotated[int, Field(ge=0, lt=2**63)]
    """Bytes, as they lie in the archive."""
    sha256: Hex32
    """Of these bytes."""
    locked: bool = False
    """Whether they are encrypted, see `locked`."""
    public: bool = False
    """Whether others may read the file once it is put back."""


class Manifest(BaseModel):
    """What the archive is, and what is in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    kind: ArchiveKind
    name: Annotated[str, Field(max_length=255)]
    """Of the run, the site, or the server's first host."""
    release: Annotated[str, Field(max_length=64)]
    """The Sealora that made it."""
    created: Annotated[str, Field(max_length=64)]
    """UTC, ISO 8601."""
    public_key: PublicKeyText
    """Of whoever made and signed it."""
    salt: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = ""
    """Of the key that locked files are encrypted under; empty if there are none."""
    files: Annotated[tuple[ArchivedFile, ...], Field(max_length=1_000_000)]

    @property
    def fingerprint(self) -> str:
        """Of the key that signed it: what people compare."""
        return key_fingerprint(key_from_text(self.public_key))

    @property
    def signed_bytes(self) -> bytes:
        """What is signed."""
        return _SIGNED_AS + canonical_json(self.model_dump(mode="json"))


class SignedManifest(BaseModel):
    """`manifest.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest: Manifest
    signature: SignatureText

    @property
    def holds(self) -> bool:
        """Whether the signature is that of the key that the manifest names."""
        key = key_from_text(self.manifest.public_key)
        return verify(key, signature_from_text(self.signature), self.manifest.signed_bytes)


def is_safe_path(path: str) -> bool:
    """Whether a path leads to a file below the directory it is taken from, and nowhere else."""
    parts = path.split("/")
    return len(path) <= LONGEST_PATH and bool(_PATH.fullmatch(path)) and not {".", ".."} & set(parts)
