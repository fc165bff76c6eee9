"""Receipts: what came of each round, signed by the server and chained, so that every site sees the same history.

The hash of the last receipt is part of the next round's order, and the order's digest part of the round's terms:
sites whose histories differ derive different keys and get no sum together. Two sites that compare their chains
out of band find the first round in which the server told them different things.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sealora_common.canonical import canonical_json
from sealora_common.errors import OrderRefusedError
from sealora_common.identity import Identity, SignatureText, signature_from_text, signature_to_text, verify
from sealora_common.order import GENESIS, RoundOrder

_SIGNED_AS = b"sealora receipt v1\n"
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Receipt(BaseModel):
    """One finished round."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    round_number: int = Field(ge=1)
    recipe_hash: Hex32
    roster_hash: Hex32
    roster_sequence: int = Field(ge=1, lt=2**32)
    """The roster's number: whoever has used another of that number knows that there were two."""
    order_digest: Hex32
    survivors: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=1000)]
    """Names of the sites in the opened sum, in the roster's order."""
    adapter_digest: Hex32
    """SHA-256 of the shared part of the adapter that came out of the round."""
    previous: Hex32
    """Hash of the receipt before, or `GENESIS`."""
    signature: SignatureText = ""

    @classmethod
    def issue(
        cls, order: RoundOrder, survivors: tuple[str, ...], adapter_digest: str, previous: str, server: Identity
    ) -> Receipt:
        """The receipt of the round that `order` opened, signed by `server`."""
        unsigned = cls(
            run=order.run,
            round_number=order.round_number,
            recipe_hash=order.recipe_hash,
            roster_hash=order.roster_hash,
            roster_sequence=order.roster_sequence,
            order_digest=order.digest.hex(),
            survivors=survivors,
            adapter_digest=adapter_digest,
            previous=previous,
        )
        signature = server.sign(_SIGNED_AS + unsigned._signed_bytes())
        return unsigned.model_copy(update={"signature": signature_to_text(signature)})

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of all but the signature."""
        return hashlib.sha256(self._signed_bytes()).hexdigest()

    def is_signed_by(self, server_key: bytes) -> bool:
        """Whether the server with this 1984-byte public key signed it."""
        return verify(server_key, signature_from_text(self.signature), _SIGNED_AS + self._signed_bytes())

    def _signed_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


_chain: TypeAdapter[list[Receipt]] = TypeAdapter(list[Receipt])


def chain_to_bytes(receipts: Sequence[Receipt]) -> bytes:
    """A chain as it travels and lies on disk: a canonical JSON array."""
    return canonical_json([receipt.model_dump(mode="json") for receipt in receipts])


def chain_from_bytes(content: bytes) -> list[Receipt]:
    """The inverse of `chain_to_bytes`.

    Raises:
        OrderRefusedError: it is malformed.
    """
    try:
        return _chain.validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise OrderRefusedError(f"the chain of receipts is malformed ({problem}): it was refused") from None


def history_of(receipts: Sequence[Receipt]) -> str:
    """What the next order must name: the hash of the last receipt, or `GENESIS`."""
    return receipts[-1].hash if receipts else GENESIS


def check_chain(receipts: Sequence[Receipt], *, run: str, recipe_hash: str, server_key: bytes) -> None:
    """Checks that `receipts` are rounds 1, 2, ... of one run, each linked to the one before and signed.

    Raises:
        OrderRefusedError: names the first round that does not fit.
    """
    previous = GENESIS
    for position, receipt in enumerate(receipts, start=1):
        fits = (
            receipt.round_number == position
            and receipt.run == run
            and receipt.recipe_hash == recipe_hash
            and receipt.previous == previous
        )
        if not fits or not receipt.is_signed_by(server_key):
            raise OrderRefusedError(
                f"the receipt of round {position} does not fit the chain or is not signed by the server: "
                "the order is refused; tell the consortium's coordinator"
            )
        previous = receipt.hash


def first_difference(ours: Sequence[Receipt], theirs: Sequence[Receipt]) -> int | None:
    """The first round in which two chains differ, as far as both go; None if they agree."""
    for one, other in zip(ours, theirs, strict=False):
        if one.hash != other.hash:
            return one.round_number
    return None
