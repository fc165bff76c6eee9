"""A member's co-signature of a roster: that this roster, and no other of its number, is the one it was shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.canonical import canonical_json
from sealora_common.config import SMALL, Name, from_json, read_file
from sealora_common.errors import PolicyError, UnreadableError
from sealora_common.identity import Identity, SignatureText, signature_from_text, signature_to_text, verify
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.own_files import PUBLIC_FILE

_SIGNED_AS = b"sealora roster cosignature v1\n"


class Cosignature(BaseModel):
    """What a member hands to the coordinator, and what then stands in the roster beside the coordinator's signature."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    member: Name
    sequence: int = Field(ge=1, lt=2**32)
    """The roster's number."""
    roster_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    signature: SignatureText = ""

    @classmethod
    def create(cls, member: Identity, sequence: int, roster_hash: bytes) -> Cosignature:
        """The co-signature by `member` of the roster with this number and hash (32 bytes)."""
        unsigned = cls(member=member.name, sequence=sequence, roster_hash=roster_hash.hex())
        return unsigned.model_copy(update={"signature": signature_to_text(member.sign(unsigned._signed_bytes()))})

    @classmethod
    def load(cls, path: Path) -> Cosignature:
        """Reads a co-signature. Whether it holds is for the roster to say, which has the member's key.

        Raises:
            PolicyError: the file is missing or malformed.
        """
        try:
            return from_json(cls, read_file(path, SMALL.longest), SMALL)
        except OSError as error:
            raise PolicyError(
                f"{path}: the co-signature cannot be read ({error.strerror}): ask the site for it"
            ) from None
        except UnreadableError as error:
            raise PolicyError(f"{path}: not a co-signature ({error}): ask the site for it") from None

    def save(self, path: Path) -> None:
        """Writes it.

        Raises:
            StorageError: the file could not be written.
        """
        write_atomically(path, self.model_dump_json(indent=2).encode() + b"\n", mode=PUBLIC_FILE)

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the holder of this 1984-byte public key signed it."""
        return verify(public_key, signature_from_text(self.signature), self._signed_bytes())

    def _signed_bytes(self) -> bytes:
        return _SIGNED_AS + canonical_json(self.model_dump(mode="json", exclude={"signature"}))
