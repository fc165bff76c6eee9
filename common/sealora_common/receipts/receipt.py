"""Receipts: what came of each round, shown by the survivors' own signatures, signed by the server and chained.

A receipt holds the order as the server signed it, the terms of the sealing, and as many of the survivors' signed
confirmations as were needed to open the sum: what a site signs in the protocol's confirm stage, see
`sealora_common.secagg.messages`. So a server cannot make one up: `sealora_common.receipts.check` says what is checked.

The order names the hash of the receipt before, and the order's digest is part of the round's terms: sites whose
histories differ derive different keys and get no sum together. Two sites that compare their chains out of band find
the first round in which the server told them different things.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.canonical import canonical_json
from sealora_common.config import from_json
from sealora_common.errors import ReceiptError, UnreadableError
from sealora_common.identity import SIGNATURE_BYTES, Identity, verify
from sealora_common.round.order import GENESIS, RoundOrder
from sealora_common.secagg import OpenedSum, RoundTerms

_SIGNED_AS = b"sealora receipt v2\n"
_MOST_SITES = 1000
_CONFIRMATION_LIMIT = 256 + 2 * _MOST_SITES + SIGNATURE_BYTES
_TERMS_LIMIT = 512 + 6 * 255

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[bytes, Field(max_length=SIGNATURE_BYTES)]


class OpeningProof(BaseModel):
    """What shows that one sum was opened with the consent of enough sites."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    terms: Annotated[bytes, Field(max_length=_TERMS_LIMIT)]
    """Canonical bytes of the sealing's terms, whose digest each confirmation names."""
    confirmations: Annotated[
        tuple[Annotated[bytes, Field(max_length=_CONFIRMATION_LIMIT)], ...], Field(max_length=_MOST_SITES)
    ]
    """Signed confirm messages of the protocol, by sender."""

    @classmethod
    def of(cls, terms: RoundTerms, opened: OpenedSum) -> OpeningProof:
        """As many of the confirmations as were needed: more would prove no more."""
        return cls(terms=terms.to_bytes(), confirmations=opened.confirmations[: terms.needed])


class Receipt(BaseModel):
    """One finished round. In JSON, byte strings are base64 (RFC 4648, section 5)."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    version: Literal[2] = 2
    order: RoundOrder
    """The order of the attempt that was opened; `order.history` is the hash of the receipt before."""
    order_signature: Signature
    """The server's signature of the order."""
    openings: Annotated[tuple[OpeningProof, ...], Field(min_length=1, max_length=_MOST_SITES // 2)]
    """One for each sum that the round opened: of all sites, or of each group they were dealt into."""
    survivors: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=_MOST_SITES)]
    """Names of the sites in the opened sums, in the roster's order."""
    adapter_digest: Hex32
    """SHA-256 of the shared part of the adapter that came out of the round. The server's word: see docs/sealing.md."""
    signature: Signature = b""
    """The server's signature of all else."""

    @classmethod
    def issue(
        cls,
        order: RoundOrder,
        openings: Sequence[OpeningProof],
        survivors: tuple[str, ...],
        adapter_digest: str,
        server: Identity,
    ) -> Receipt:
        """The receipt of the round that `order` opened, signed by `server`."""
        unsigned = cls(
            order=order,
            order_signature=order.signed_by(server),
            openings=tuple(openings),
            survivors=survivors,
            adapter_digest=adapter_digest,
        )
        return unsigned.signed_by(server)

    def signed_by(self, server: Identity) -> Receipt:
        """A copy signed by `server`."""
        return self.model_copy(update={"signature": server.sign(_SIGNED_AS + self._signed_bytes())})

    def is_signed_by(self, server_key: bytes) -> bool:
        """Whether the server with this public key signed it."""
        return verify(server_key, self.signature, _SIGNED_AS + self._signed_bytes())

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of all but the signature."""
        return hashlib.sha256(self._signed_bytes()).hexdigest()

    @property
    def run(self) -> str:
        """The run it is of."""
        return self.order.run

    @property
    def round_number(self) -> int:
        """The round it is of: 1, 2, ..."""
        return self.order.round_number

    @property
    def recipe_hash(self) -> str:
        """The recipe's hash (hex)."""
        return self.order.recipe_hash

    @property
    def roster_hash(self) -> str:
        """The hash (hex) of the roster that the round was sealed among."""
        return self.order.roster_hash

    @property
    def previous(self) -> str:
        """Hash (hex) of the receipt before, or `GENESIS`."""
        return self.order.history

    def to_line(self) -> bytes:
        """The canonical bytes, without a line's end."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_line(cls, line: bytes) -> Receipt:
        """Reads a receipt, refusing any but its canonical bytes.

        Raises:
            ReceiptError: it is not a well-formed receipt.
        """
        try:
            receipt = from_json(cls, line)
        except UnreadableError as error:
            raise ReceiptError(f"a receipt is malformed ({error}): it was refused") from None
        if receipt.to_line() != line:
            raise ReceiptError(f"the receipt of round {receipt.round_number} is not in canonical form: it was refused")
        return receipt

    def _signed_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


def chain_to_bytes(receipts: Sequence[Receipt]) -> bytes:
    """Receipts as they travel and lie on disk: one a line, each line ended."""
    return b"".join(receipt.to_line() + b"\n" for receipt in receipts)


def chain_from_bytes(content: bytes) -> list[Receipt]:
    """The inverse of `chain_to_bytes`.

    Raises:
        ReceiptError: a line is malformed, or the last one is cut short.
    """
    *lines, rest = content.split(b"\n")
    receipts = []
    for number, line in enumerate(lines, start=1):
        try:
            receipts.append(Receipt.from_line(line))
        except ReceiptError as error:
            raise ReceiptError(f"line {number} of the receipts: {error}") from None
    if rest:
        raise ReceiptError(
            f"line {len(lines) + 1} of the receipts is cut short, so what it said is not known: "
            "take the line away, or a whole copy from another site"
        )
    return receipts


def history_of(receipts: Sequence[Receipt]) -> str:
    """What the next order must name: the hash of the last receipt, or `GENESIS`."""
    return receipts[-1].hash if receipts else GENESIS


def first_difference(ours: Sequence[Receipt], theirs: Sequence[Receipt]) -> int | None:
    """The first round in which two chains differ, as far as both go; None if they agree."""
    for one, other in zip(ours, theirs, strict=False):
        if one.hash != other.hash:
            return one.round_number
    return None
