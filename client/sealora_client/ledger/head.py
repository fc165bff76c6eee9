"""`ledger.head`: the number and hash of the ledger's last entry, in a file of its own.

A chain of hashes shows what is missing in its middle, not that its end is. The head does: it is written, whole and
flushed, after each commit, so it may fall behind the ledger by what a crash left, and never runs ahead. Its signature
covers other bytes than an entry's, so nobody can make a head for an earlier entry out of what lies in the ledger.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from sealora_client.ledger.entries import Hex32
from sealora_common.canonical import canonical_json
from sealora_common.config import SMALL, from_json, read_file
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.identity import Identity, SignatureText, signature_from_text, signature_to_text, verify
from sealora_common.storage.durable import write_atomically

_SIGNED_AS = b"sealora ledger head v2\n"


class Head(BaseModel):
    """The last entry that the ledger is known to have had."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(ge=1)
    hash: Hex32
    signature: SignatureText = ""

    @classmethod
    def of(cls, number: int, link: bytes, identity: Identity | None) -> Head:
        """The head at entry `number`, signed if there is an identity."""
        head = cls(number=number, hash=link.hex())
        if identity is None:
            return head
        return head.model_copy(update={"signature": signature_to_text(identity.sign(head._signed_bytes()))})

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the holder of this 1984-byte key signed it; with no key, whether it carries no signature."""
        if not public_key:
            return not self.signature
        return verify(public_key, signature_from_text(self.signature), self._signed_bytes())

    def _signed_bytes(self) -> bytes:
        return _SIGNED_AS + canonical_json(self.model_dump(mode="json", exclude={"signature"}))


def head_path(ledger: Path) -> Path:
    """The head's file, beside the ledger: `ledger.head` for `ledger.sqlite`."""
    return ledger.with_suffix(".head")


def has_ledger(ledger: Path) -> bool:
    """Whether there is a ledger at this path, or was one: where it is missing and its head is not, nobody may take that
    for nothing spent, and opening it says so."""
    return ledger.exists() or head_path(ledger).exists()


def read_head(ledger: Path) -> Head | None:
    """The head beside `ledger`; None if there is none.

    Raises:
        StorageError: it cannot be read, or is none.
    """
    path = head_path(ledger)
    try:
        return from_json(Head, read_file(path, SMALL.longest), SMALL)
    except FileNotFoundError:
        return None
    except (OSError, UnreadableError):
        raise StorageError(
            f"{path}: cannot be read, so nothing tells whether the privacy ledger is whole: "
            "put it back from the same backup as the ledger, or remove it and run `sealora-site budget accept`"
        ) from None


def write_head(ledger: Path, head: Head) -> None:
    """Replaces the head beside `ledger`, durably.

    Raises:
        StorageError: it could not be written; the old one is still there.
    """
    write_atomically(head_path(ledger), canonical_json(head.model_dump(mode="json")) + b"\n", mode=0o600)
