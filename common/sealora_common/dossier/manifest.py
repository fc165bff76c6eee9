"""The manifest of a part: every file by its SHA-256 and its size, signed by whoever wrote the part.

    manifest.json   canonical JSON
    manifest.sig    one line: base64 of the signature of "sealora dossier manifest v1\\n" || manifest.json

The server's manifest names the signed manifests of the sites' parts by their hashes. So whoever has the server's
fingerprint can tell a dossier from any other, to the last byte.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from sealora_common.canonical import canonical_json
from sealora_common.config import LARGE, Name, from_json
from sealora_common.dossier.figure import DossierModel, Sha256
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.identity import (
    Identity,
    PublicKeyText,
    key_fingerprint,
    key_from_text,
    signature_from_text,
    signature_to_text,
    verify,
)

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
SITES: Final = "sites"
"""The folder of the server's part in which the sites' parts lie, each under its site's name."""
_SIGNED_AS = b"sealora dossier manifest v1\n"

PartPath = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$", max_length=300)
]
"""A path within a part: no part of it begins with a dot, so that none leads out."""


class ManifestFile(DossierModel):
    """One file."""

    path: PartPath
    sha256: Sha256
    size: Annotated[int, Field(ge=0)]


class ManifestPart(DossierModel):
    """A site's part, as the server's manifest names it."""

    site: Name
    manifest_sha256: Sha256


class DossierManifest(DossierModel):
    """`manifest.json`."""

    version: Literal[1] = 1
    kind: Literal["server", "site"]
    name: str
    """Of the site, or of the run."""
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    recipe_hash: Sha256
    created: str
    release: str
    public_key: PublicKeyText
    files: Annotated[tuple[ManifestFile, ...], Field(max_length=100_000)]
    parts: Annotated[tuple[ManifestPart, ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        paths = [file.path for file in self.files]
        sites = [part.site for part in self.parts]
        if paths != sorted(set(paths)) or sites != sorted(set(sites)):
            raise ValueError("files and parts must be distinct, in order")
        if {MANIFEST, SIGNATURE} & set(paths) or (self.kind == "server" and any(p.startswith("sites/") for p in paths)):
            raise ValueError("a manifest names neither itself nor the files of a site's part")
        return self

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical_json(self.model_dump(mode="json"))

    def signed_by(self, identity: Identity) -> bytes:
        """The content of `manifest.sig`."""
        return signature_to_text(identity.sign(_SIGNED_AS + self.to_bytes())).encode() + b"\n"

    @property
    def fingerprint(self) -> str:
        """Of the key that signs it."""
        return key_fingerprint(key_from_text(self.public_key))

    @classmethod
    def read(cls, content: bytes, signature: bytes, where: str) -> DossierManifest:
        """Reads a manifest and checks that the key in it signed it. Whose key that is, is for the caller to judge.

        Args:
            content: of `manifest.json`.
            signature: of `manifest.sig`.
            where: opens the sentence.

        Raises:
            PolicyError: it is malformed, or the signature does not hold.
        """
        try:
            manifest = from_json(cls, content, LARGE)
        except UnreadableError as error:
            raise PolicyError(f"{where}: not the manifest of a dossier ({error}): ask for the part again") from None
        try:
            if not signature.endswith(b"\n"):
                raise ValueError
            made = signature_from_text(signature[:-1].decode("ascii"))
        except ValueError:
            raise PolicyError(f"{where}: its signature is no signature: ask for the part again") from None
        if not verify(key_from_text(manifest.public_key), made, _SIGNED_AS + content):
            raise PolicyError(f"{where}: the signature does not hold: it was changed, ask for the part again")
        return manifest
