"""What a site releases in a round, on its disk before any of it leaves, so that a round ordered again is the same.

A sum that is lost below the threshold is asked for again. If the site trained again, two sums of one round would
differ by more than the survivors in them, and each would cost privacy. So what carries its own noise (the delta of
`local`, every held-out loss) is kept and sent again as it is, which tells nobody anything new and costs nothing. What
is protected by the seal alone is never kept: a sum of `distributed` carries a share of the noise only, and without
privacy there is none.

One file a run: `outbox/<run>`, a line of JSON and the bytes of the delta. The next round's takes its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from sealora_common.errors import OrderRefusedError, StorageError
from sealora_common.order import Purpose, RoundOrder
from sealora_common.storage import storage_error, write_atomically

_RUNS_KEPT = 8
"""Runs whose last round is kept. A server that invents runs fills no disk."""
_FLOAT32 = np.dtype("<f4")


class Noised(BaseModel):
    """A figure that carries noise, and the charge that paid for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    charge: int | None
    """Entry of the ledger; None where nothing is charged."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex): what the ledger knows it by."""
        return hashlib.sha256(np.float64(self.value).tobytes()).hexdigest()


class _Head(BaseModel):
    """The file's first line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = 1
    purpose: Purpose
    round_number: int
    adapter_digest: str
    clip_norm: float
    weight: float
    heldout_loss: Noised | None
    charge: int | None
    unclipped: float
    sent: bool
    figures: dict[str, Any]
    values: str
    """SHA-256 (hex) of the bytes after the line; empty: there is no delta."""


@dataclass(frozen=True)
class Kept:
    """What one round releases, as far as it carries its own noise.

    Attributes:
        purpose: of the order.
        round_number: first round is 1.
        adapter_digest: of the global adapter that was evaluated and trained from.
        clip_norm: C of the round.
        weight: the site's weight when it did the work.
        figures: the line of the site's own history. LOCAL: no noise protects them.
        heldout_loss: the noisy held-out loss; None if the round does not evaluate.
        values: float32, shape (P,), the noised delta; None where only the seal protects it.
        charge: entry of the ledger that paid for `values`; None if there is none.
        unclipped: noisy share of unclipped gradients; covered by the same charge.
        sent: whether a vector of this round has left the site.
    """

    purpose: Purpose
    round_number: int
    adapter_digest: str
    clip_norm: float
    weight: float
    figures: dict[str, Any]
    heldout_loss: Noised | None = None
    values: NDArray[np.float32] | None = None
    charge: int | None = None
    unclipped: float = 0.0
    sent: bool = False

    def require_of(self, order: RoundOrder) -> None:
        """Refuses an order for the same round that asks for something else.

        Raises:
            OrderRefusedError: it names another adapter or clipping norm than the first order for this round.
        """
        if (self.adapter_digest, self.clip_norm) != (order.adapter_digest, order.clip_norm):
            raise OrderRefusedError(
                f"round {self.round_number} was ordered before with another adapter or clipping norm: it was refused; "
                "tell the consortium's coordinator"
            )

    def require_unsent(self) -> None:
        """Refuses a second vector of the round: where no noise protects them, two can be subtracted.

        Raises:
            OrderRefusedError: one has left.
        """
        if self.sent:
            raise OrderRefusedError(
                f"this site has sent its vector of round {self.round_number}, and without privacy.mechanism sends no "
                "second one: start a new run"
            )

    @property
    def values_digest(self) -> str:
        """SHA-256 (hex) of the delta and what was released with it: what the ledger knows it by."""
        content = b"" if self.values is None else _bytes_of(self.values)
        return hashlib.sha256(content + np.float64(self.unclipped).tobytes()).hexdigest()


class Outbox:
    """The rounds that a site has released, or was about to, one for each run.

    Args:
        directory: the site's directory.
        run: the run's identity, 32 hexadecimal digits.
    """

    def __init__(self, directory: Path, run: str) -> None:
        self._directory = directory / "outbox"
        self._file = self._directory / run

    def find(self, order: RoundOrder) -> Kept | None:
        """What is kept of the order's round; None if nothing is.

        Raises:
            StorageError: the file cannot be read, or is damaged.
        """
        try:
            line, _, body = self._file.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(self._file, error) from error
        try:
            head = _Head.model_validate_json(line)
        except ValidationError:
            raise self._damaged() from None
        if head.values != (hashlib.sha256(body).hexdigest() if head.values else ""):
            raise self._damaged()
        if (head.purpose, head.round_number) != (order.purpose, order.round_number):
            return None
        return Kept(
            purpose=head.purpose,
            round_number=head.round_number,
            adapter_digest=head.adapter_digest,
            clip_norm=head.clip_norm,
            weight=head.weight,
            figures=head.figures,
            heldout_loss=head.heldout_loss,
            values=np.frombuffer(body, dtype=_FLOAT32).astype(np.float32) if head.values else None,
            charge=head.charge,
            unclipped=head.unclipped,
            sent=head.sent,
        )

    def keep(self, kept: Kept) -> None:
        """Writes it, durably, in place of what was kept of the run before.

        Raises:
            StorageError: it could not be written; what was kept is untouched.
        """
        body = b"" if kept.values is None else _bytes_of(kept.values)
        head = _Head(
            purpose=kept.purpose,
            round_number=kept.round_number,
            adapter_digest=kept.adapter_digest,
            clip_norm=kept.clip_norm,
            weight=kept.weight,
            heldout_loss=kept.heldout_loss,
            charge=kept.charge,
            unclipped=kept.unclipped,
            sent=kept.sent,
            figures=kept.figures,
            values="" if kept.values is None else hashlib.sha256(body).hexdigest(),
        )
        write_atomically(self._file, head.model_dump_json().encode() + b"\n" + body, mode=0o600)
        self._forget_oldest()

    def mark_sent(self, order: RoundOrder) -> None:
        """Notes, durably, that a vector of the order's round is about to leave.

        Raises:
            OrderRefusedError: one has left already.
            StorageError: it could not be written, or nothing is kept of the round. The vector must not leave.
        """
        kept = self.find(order)
        if kept is None:
            raise StorageError(
                f"{self._file} is not there any more: let no other program write in the site's directory"
            )
        kept.require_unsent()
        self.keep(replace(kept, sent=True))

    def _forget_oldest(self) -> None:
        for path in sorted(self._others(), key=lambda path: path.stat().st_mtime_ns)[: 1 - _RUNS_KEPT]:
            path.unlink(missing_ok=True)

    def _others(self) -> Iterator[Path]:
        return (path for path in self._directory.iterdir() if path != self._file and not path.name.startswith("."))

    def _damaged(self) -> StorageError:
        return StorageError(f"{self._file} is damaged: move it away, and the site does the round anew, at a new charge")


def _bytes_of(values: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values, dtype=_FLOAT32).tobytes()
