"""What a site has confirmed itself, in every attempt of a run's rounds: what receipts may not contradict."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sealora_common.canonical import canonical_json
from sealora_common.config import from_json
from sealora_common.errors import OrderRefusedError, PolicyError, UnreadableError
from sealora_common.receipts.check import RoundProof
from sealora_common.round.order import RoundOrder
from sealora_common.storage.durable import append_whole_lines, whole_lines

log = logging.getLogger(__name__)


class Confirmation(BaseModel):
    """One confirmation of this site's: which session and set of survivors it signed, under which order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    round_number: int
    attempt: int
    order_digest: str
    transcript: str
    """Digest (hex) of the session, see `sealora_common.secagg.transcript`."""
    survivors: tuple[str, ...]


class Superseded(BaseModel):
    """A note: this site confirmed an attempt, and the round's receipt is of another one that had its own quorum."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    round_number: int
    confirmed: Confirmation
    receipt_attempt: int
    receipt_order_digest: str
    receipt_survivors: tuple[str, ...]


class ConfirmedRounds:
    """The confirmations of one run, one a line. A last line that a kill cut short was of one that did not leave."""

    def __init__(self, directory: Path, run: str) -> None:
        self._file = directory / f"{run}.confirmed.jsonl"
        self._notes = directory / f"{run}.superseded.jsonl"

    def add(self, order: RoundOrder, transcript: bytes, survivors: tuple[str, ...]) -> None:
        """Notes, durably, what this site is about to confirm.

        Raises:
            StorageError: it could not be written. The confirmation must not leave.
        """
        confirmed = Confirmation(
            round_number=order.round_number,
            attempt=order.attempt,
            order_digest=order.digest.hex(),
            transcript=transcript.hex(),
            survivors=survivors,
        )
        _append(self._file, [confirmed])

    @property
    def count(self) -> int:
        """How many there are.

        Raises:
            StorageError: the file cannot be read.
        """
        return len(whole_lines(self._file))

    def check(self, proofs: Sequence[RoundProof]) -> list[Superseded]:
        """Compares receipts, which prove what they say, with what this site confirmed in their rounds.

        Of an order that it confirmed, a receipt must name a session and survivors that it confirmed; where sites are
        sealed in groups it may leave this site's group out, and says nothing to it of the others. Of another order of
        the round it may name what it proves: this site's attempt was confirmed and never opened.

        Returns:
            A note for each attempt of this site's that another one superseded.

        Raises:
            OrderRefusedError: a receipt contradicts what this site confirmed.
            PolicyError: the file is damaged.
        """
        notes: list[Superseded] = []
        if not proofs:
            return notes
        confirmed = self._read()
        for proof in proofs:
            receipt = proof.receipt
            digest = receipt.order.digest.hex()
            of_round = [each for each in confirmed if each.round_number == receipt.round_number]
            of_order = [each for each in of_round if each.order_digest == digest]
            if of_order:
                _require_own(proof, of_order)
            else:
                notes += [
                    Superseded(
                        round_number=receipt.round_number,
                        confirmed=each,
                        receipt_attempt=receipt.order.attempt,
                        receipt_order_digest=digest,
                        receipt_survivors=receipt.survivors,
                    )
                    for each in of_round
                ]
        return notes

    def note(self, superseded: Sequence[Superseded]) -> None:
        """Keeps notes that `check` returned, and tells them to the site's operator.

        Raises:
            StorageError: they could not be written.
        """
        for each in superseded:
            log.warning(
                "round %d: this site confirmed attempt %d, and the receipt is of attempt %d, which enough sites "
                "confirmed: the first is taken for one that was never opened",
                each.round_number,
                each.confirmed.attempt,
                each.receipt_attempt,
            )
        if superseded:
            _append(self._notes, superseded)

    def _read(self) -> list[Confirmation]:
        try:
            return [from_json(Confirmation, line) for line in whole_lines(self._file)]
        except UnreadableError:
            raise PolicyError(f"{self._file}: cannot be read: restore it from a backup") from None


def _require_own(proof: RoundProof, confirmed: Sequence[Confirmation]) -> None:
    """Refuses a receipt that tells of this site's group what it did not confirm."""
    number = proof.receipt.round_number
    own = {name for each in confirmed for name in each.survivors}
    told = [opening for opening in proof.openings if own & set(opening.survivors)]
    if proof.receipt.order.groups == 1 and not told:
        raise _contradicted(number, "other survivors")
    for opening in told:
        of_set = [each for each in confirmed if each.survivors == opening.survivors]
        if not of_set:
            raise _contradicted(number, "other survivors")
        if opening.transcript.hex() not in [each.transcript for each in of_set]:
            raise _contradicted(number, "another session")


def _append(path: Path, lines: Sequence[BaseModel]) -> None:
    append_whole_lines(path, lambda _: [canonical_json(line.model_dump(mode="json")) for line in lines])


def _contradicted(round_number: int, what: str) -> OrderRefusedError:
    return OrderRefusedError(
        f"the receipt of round {round_number} names {what} than this site confirmed: "
        "the order is refused; tell the consortium's coordinator"
    )
