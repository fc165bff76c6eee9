"""The server's order for one round, and the terms of the sealing that each side works out from it."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sealora_common import __version__
from sealora_common.adapter import AdapterLayout, Tensors, adapter_kind
from sealora_common.canonical import canonical_json
from sealora_common.config import SMALL, from_json
from sealora_common.errors import OrderRefusedError, UnreadableError
from sealora_common.identity import Identity, verify
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster
from sealora_common.round.clip_range import initial_range
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.release import other_release
from sealora_common.secagg import RoundTerms, threshold_for

GENESIS = "0" * 64
"""The history before the first receipt, see `sealora_common.receipts.receipt`."""

_SIGNED_AS = b"sealora order v1\n"

Purpose = Literal["train", "evaluate"]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hex16 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class RoundOrder(BaseModel):
    """What the server asks of every site in a round. Its digest is part of the terms, so all sites get the same.

    The server signs it; the signature travels beside the canonical bytes and lies in the round's receipt.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    release: Annotated[str, Field(pattern=r"^[0-9A-Za-z.+-]{1,32}$")] = __version__
    """The server's version of Sealora. A site takes orders of its own version only."""
    purpose: Purpose
    run: Hex16
    round_number: int = Field(ge=1, lt=2**32)
    attempt: int = Field(ge=1, lt=2**32)
    groups: int = Field(default=1, ge=1, le=1000)
    """Groups that the sites are dealt into, see `sealora_common.round.groups`; each is sealed by itself."""
    nonce: Hex16
    """Fresh for every attempt, also after a restart of the server."""
    recipe_hash: Hex32
    roster_hash: Hex32
    roster_sequence: int = Field(ge=1, lt=2**32)
    """The roster's number, which the receipt repeats, so that rosters of one number can be compared."""
    layout_digest: Hex32
    adapter_digest: Hex32
    """SHA-256 of the global adapter that travels with the order."""
    history: Hex32
    """Hash of the last round's receipt."""
    clip_range: float = Field(gt=0, allow_inf_nan=False)
    """Public range of a coordinate in this round, see `sealora_common.round.clip_range`."""
    clip_norm: float = Field(gt=0, allow_inf_nan=False)
    """Clipping norm of this round, see `sealora_common.round.clip_norm`."""

    @classmethod
    def issue(
        cls,
        purpose: Purpose,
        *,
        run: str,
        round_number: int,
        attempt: int,
        recipe: Recipe,
        roster: Roster,
        layout_digest: str,
        adapter: NDArray[np.float32],
        history: str = GENESIS,
        clip_range: float | None = None,
        clip_norm: float | None = None,
        groups: int | None = None,
    ) -> RoundOrder:
        """An order for the global adapter `adapter` (flat float32 vector); ranges are the recipe's unless given."""
        return cls(
            purpose=purpose,
            run=run,
            round_number=round_number,
            attempt=attempt,
            groups=recipe.sealing.groups if groups is None else groups,
            nonce=secrets.token_hex(16),
            recipe_hash=recipe.hash,
            roster_hash=roster.hash.hex(),
            roster_sequence=roster.sequence,
            layout_digest=layout_digest,
            adapter_digest=vector_digest(adapter),
            history=history,
            clip_range=initial_range(recipe) if clip_range is None else clip_range,
            clip_norm=recipe.privacy.clip_norm if clip_norm is None else clip_norm,
        )

    @classmethod
    def parse(cls, content: bytes) -> RoundOrder:
        """Reads an order, refusing any but its canonical bytes.

        Raises:
            OrderRefusedError: it is of another release of Sealora, or not a well-formed order.
        """
        try:
            order = from_json(cls, content, SMALL)
        except UnreadableError as error:
            if (release := other_release(content, "release")) is not None:
                raise of_another_release(release) from None
            raise OrderRefusedError(
                f"the server's order is malformed ({error}): "
                "the server and this site must run the same version of Sealora"
            ) from None
        if order.to_bytes() != content:
            raise OrderRefusedError("the server's order is not in canonical form: it was refused")
        return order

    @classmethod
    def parse_signed(cls, content: bytes, signature: bytes, server_key: bytes) -> RoundOrder:
        """Reads an order that the server signed; nothing of any other is looked at.

        Args:
            content: the order's canonical bytes.
            signature: the server's, over them.
            server_key: the public key that the roster names.

        Raises:
            OrderRefusedError: the signature does not hold, or what is signed is no well-formed order.
        """
        if not verify(server_key, signature, _SIGNED_AS + content):
            raise OrderRefusedError(
                "the order is not signed by the server that this site's roster names: it was refused; "
                "tell the consortium's coordinator"
            )
        return cls.parse(content)

    def signed_by(self, server: Identity) -> bytes:
        """The server's signature of this order."""
        return server.sign(_SIGNED_AS + self.to_bytes())

    def is_signed_by(self, server_key: bytes, signature: bytes) -> bool:
        """Whether `signature` over this order was made by the server with this public key."""
        return verify(server_key, signature, _SIGNED_AS + self.to_bytes())

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of the canonical bytes."""
        return hashlib.sha256(self.to_bytes()).digest()


def evaluates(order: RoundOrder, recipe: Recipe) -> bool:
    """Whether sites evaluate the order's adapter on their held-out records."""
    return order.purpose == "evaluate" or recipe.evaluates(order.round_number)


def most_attempts(recipe: Recipe, roster: Roster) -> int:
    """Most attempts of one round that a site takes part in.

    An attempt that shows who broke the protocol is not counted against the recipe's, and each can show it of a site
    that had not been found out before.
    """
    return recipe.sites.round_attempts + len(roster)


def most_sessions(recipe: Recipe, roster: Roster) -> int:
    """Most sealed sessions of one run that a site takes part in."""
    return (recipe.rounds + 1) * most_attempts(recipe, roster)


def layout_of(order: RoundOrder, recipe: Recipe, roster: Roster, adapter: AdapterLayout) -> ContributionLayout:
    """The layout of the round's contributions; `adapter` is the layout of the whole adapter."""
    trained = adapter_kind(recipe).trained(adapter, order.round_number) if order.purpose == "train" else None
    return ContributionLayout.of(
        recipe,
        trained,
        len(roster),
        evaluates=evaluates(order, recipe),
        clip_range=order.clip_range,
        clip_norm=order.clip_norm,
        rotation_seed=order.nonce,
    )


def terms_of(order: RoundOrder, recipe: Recipe, roster: Roster, layout: ContributionLayout) -> RoundTerms:
    """The terms of the order's round, from one's own recipe and roster; of the order only what binds it."""
    return RoundTerms(
        run=bytes.fromhex(order.run),
        round_number=order.round_number,
        attempt=order.attempt,
        recipe_hash=bytes.fromhex(recipe.hash),
        roster_hash=roster.hash,
        order_digest=order.digest,
        roster_size=len(roster),
        threshold=threshold_for(len(roster), recipe.sealing.adversary),
        min_survivors=recipe.sealing.min_survivors,
        segments=layout.segments,
        sessions=most_sessions(recipe, roster),
    )


def vector_digest(vector: NDArray[np.float32]) -> str:
    """SHA-256 (hex) of a float32 vector's little-endian bytes."""
    return hashlib.sha256(np.ascontiguousarray(vector, dtype="<f4").tobytes()).hexdigest()


def shared_digest(tensors: Tensors, recipe: Recipe) -> str:
    """SHA-256 (hex) of the part of an adapter that travels, as a receipt has it.

    Args:
        tensors: all of the adapter's as a run holds them, in any order.
        recipe: the run's.
    """
    layout = AdapterLayout.of(dict(sorted(tensors.items())))
    return vector_digest(adapter_kind(recipe).shared(layout).flatten(tensors))


def of_another_release(release: str) -> OrderRefusedError:
    """The refusal of an order of this other release of Sealora."""
    return OrderRefusedError(
        f"the order is of Sealora {release}, this site runs {__version__}: install the same version at both"
    )
