"""How a run ended, signed by its server: which round's adapter is the federation's, bound to the run's receipts.

Each site is sent it with the adapter. A site holds its own receipts against it, so that the adapter can be none but one
that a receipt of the run names; which of them, where the recipe keeps the best, is the server's word. Two sites that
compare what they were told see whether it was the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sealora_common.canonical import canonical_json
from sealora_common.config import SMALL, from_json
from sealora_common.errors import ReceiptError, UnreadableError
from sealora_common.identity import SIGNATURE_BYTES, Identity, verify
from sealora_common.privacy.heldout_noise import least_noise_of_mean
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.receipts.receipt import Hex32, Receipt
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster
from sealora_common.round.order import Hex16

_SIGNED_AS = b"sealora conclusion v1\n"
_REFUSED = "the adapter was refused; tell the consortium's coordinator"

_SAME = 1e-6
"""Calibration, worked out on another machine, differs by less."""

NoisyFigure = Annotated[float, Field(allow_inf_nan=False)]


class Conclusion(BaseModel):
    """The end of one run. In JSON, byte strings are base64 (RFC 4648, section 5)."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    version: Literal[1] = 1
    run: Hex16
    recipe_hash: Hex32
    rounds: int = Field(ge=1, lt=2**32)
    """Rounds that were finished: as many receipts are there."""
    history: Hex32
    """Hash of the last receipt."""
    kept_round: int = Field(ge=0, lt=2**32)
    """Rounds that the adapter has been trained which the run ends with."""
    adapter_digest: Hex32
    """SHA-256 of the shared part of that adapter, as its receipt has it."""
    layout_digest: Hex32
    heldout_loss_before: NoisyFigure | None = None
    """What the opened sums told, with its noise; null where a run has none, as it might tell of a site then."""
    heldout_loss_after: NoisyFigure | None = None
    """Of the adapter that is kept."""
    heldout_noise: NoisyFigure | None = None
    """Least standard deviation of the noise in each of the two."""
    signature: Annotated[bytes, Field(max_length=SIGNATURE_BYTES)] = b""
    """The server's, of all else."""

    def signed_by(self, server: Identity) -> Conclusion:
        """A copy signed by `server`."""
        return self.model_copy(update={"signature": server.sign(_SIGNED_AS + self._signed_bytes())})

    def is_signed_by(self, server_key: bytes) -> bool:
        """Whether the server with this public key signed it."""
        return verify(server_key, self.signature, _SIGNED_AS + self._signed_bytes())

    def says_the_same_as(self, other: Conclusion) -> bool:
        """Whether they differ in nothing but the signature's own randomness."""
        return self._signed_bytes() == other._signed_bytes()

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, content: bytes) -> Conclusion:
        """Reads one, refusing any but its canonical bytes.

        Raises:
            ReceiptError: it is not a well-formed conclusion.
        """
        try:
            conclusion = from_json(cls, content, SMALL)
        except UnreadableError as error:
            raise ReceiptError(f"the end of the run is told in a malformed way ({error}): it was refused") from None
        if conclusion.to_bytes() != content:
            raise ReceiptError("the end of the run is not told in canonical form: it was refused")
        return conclusion

    def _signed_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


def least_heldout_noise(recipe: Recipe, survivors: int) -> float | None:
    """Least standard deviation of the noise in a held-out figure of so many sites; None without privacy.

    It is that of sites which each have `data.heldout_limit` records.
    """
    return least_noise_of_mean(recipe, survivors) if mechanism_of(recipe).protects else None


def adapter_of_round(chain: Sequence[Receipt], trained: int) -> str:
    """Digest (hex) of the adapter that had been trained for so many rounds of a chain that begins with round 1."""
    return chain[trained - 1].adapter_digest if trained else chain[0].order.adapter_digest


def check_conclusion(
    conclusion: Conclusion, chain: Sequence[Receipt], recipe: Recipe, rosters: Mapping[str, Roster]
) -> None:
    """Refuses a conclusion that is not the end of the run whose receipts these are.

    Args:
        conclusion: what the server says.
        chain: all receipts of the run from round 1 on, which prove what they say.
        recipe: the run's.
        rosters: by hash (hex), the last receipt's among them; it names the server.

    Raises:
        ReceiptError: names what does not fit.
    """
    if not chain:
        raise ReceiptError(f"no receipts of run {conclusion.run[:12]} came with its adapter: {_REFUSED}")
    last = chain[-1]
    if not conclusion.is_signed_by(rosters[last.roster_hash].server_key):
        raise ReceiptError(f"the end of the run is not signed by the roster's server: {_REFUSED}")
    if conclusion.run != last.run or conclusion.recipe_hash != recipe.hash:
        raise ReceiptError(f"what is told is the end of another run or recipe: {_REFUSED}")
    if (conclusion.rounds, conclusion.history) != (len(chain), last.hash):
        raise ReceiptError(
            f"the run is said to have ended after round {conclusion.rounds}, and its receipts are others: {_REFUSED}"
        )
    if not recipe.may_end_after(conclusion.rounds):
        raise ReceiptError(f"the recipe does not let a run end after round {conclusion.rounds}: {_REFUSED}")
    kept = conclusion.kept_round
    if kept != conclusion.rounds and (recipe.server.keep != "best" or kept > conclusion.rounds):
        raise ReceiptError(
            f"the adapter is said to be that of round {kept}, and the recipe keeps another (server.keep: "
            f"{recipe.server.keep}): {_REFUSED}"
        )
    if conclusion.adapter_digest != adapter_of_round(chain, kept):
        raise ReceiptError(f"the adapter is not the one that the receipt of round {kept} names: {_REFUSED}")
    # Else a server makes a site believe that a figure is as exact as it likes to say.
    least = least_heldout_noise(recipe, len(last.survivors))
    told = conclusion.heldout_noise
    if (told is None) != (least is None) or not math.isclose(told or 0.0, least or 0.0, rel_tol=_SAME):
        raise ReceiptError(f"the noise of its held-out figures is not the one that the recipe gives: {_REFUSED}")
    if conclusion.layout_digest != last.order.layout_digest:
        raise ReceiptError(f"the adapter's layout is not the one of the run's orders: {_REFUSED}")
