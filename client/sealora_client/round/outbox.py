"""What a site releases in a round, on its disk before any of it leaves, so that a round ordered again is the same.

A sum that is lost below the threshold is asked for again. If the site trained again, two sums of one round would
differ by more than the survivors in them, and each would cost privacy. So what carries its own noise (the delta of
`local`, every held-out loss) is kept and sent again as it is, which tells nobody anything new and costs nothing. What
is protected by the seal alone is never kept: a sum of `distributed` carries a share of the noise only, and without
privacy there is none.

One file a run: `outbox/<run>`, a line of JSON and the bytes of the delta. The next round's takes its place, and of many
runs the oldest one's is deleted. That a vector has left is an empty file beside it, made once and never rewritten nor
deleted: without the other, the site sits a repeat of that round out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from sealora_client.ledger import ChargeReference, PaidRelease
from sealora_common.config import LONGEST_TENSORS, from_json, read_file
from sealora_common.errors import OrderRefusedError, StorageError, UnreadableError, storage_error
from sealora_common.records.site_rounds import SiteRound
from sealora_common.round.order import Purpose, RoundOrder
from sealora_common.storage.durable import create_once, write_atomically

_RUNS_KEPT = 8
"""Runs whose last round is kept: so many of which something has left, and as many of which nothing has. A server that
invents runs fills no disk, and does not have a site forget what it has sent: nothing leaves of those."""
_FLOAT32 = np.dtype("<f4")
_MARK = re.compile(r"(?P<run>[0-9a-f]{32})\.(?P<purpose>train|evaluate)-(?P<round>[0-9]{1,10})\.sent", re.ASCII)


class Noised(BaseModel):
    """A figure that carries noise, and the charge that paid for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    charge: ChargeReference | None
    """None where nothing is charged."""

    @property
    def release(self) -> PaidRelease | None:
        """What leaves with it, and what pays; None where nothing is charged."""
        return None if self.charge is None else PaidRelease(charge=self.charge, content=self.digest)

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
    recipe_hash: str
    adapter_digest: str
    clip_norm: float
    weight: float
    heldout_loss: Noised | None
    charge: ChargeReference | None
    unclipped: float
    figures: SiteRound
    values: str
    """SHA-256 (hex) of the bytes after the line; empty: there is no delta."""


@dataclass(frozen=True)
class Kept:
    """What one round releases, as far as it carries its own noise.

    Attributes:
        purpose: of the order.
        round_number: first round is 1.
        recipe_hash: of the recipe that the work was done by.
        adapter_digest: of the global adapter that was evaluated and trained from.
        clip_norm: C of the round.
        weight: the site's weight when it did the work.
        figures: the line of the site's own history. LOCAL: no noise protects them.
        heldout_loss: the noisy held-out loss; None if the round does not evaluate.
        values: float32, shape (P,), the noised delta; None where only the seal protects it.
        charge: what paid for `values`; None if nothing did.
        unclipped: noisy share of unclipped gradients; covered by the same charge.
    """

    purpose: Purpose
    round_number: int
    recipe_hash: str
    adapter_digest: str
    clip_norm: float
    weight: float
    figures: SiteRound
    heldout_loss: Noised | None = None
    values: NDArray[np.float32] | None = None
    charge: ChargeReference | None = None
    unclipped: float = 0.0

    def require_of(self, order: RoundOrder) -> None:
        """Refuses an order for the same round that asks for something else.

        Raises:
            OrderRefusedError: it names another recipe, adapter or clipping norm than the first order for this round.
        """
        kept = (self.recipe_hash, self.adapter_digest, self.clip_norm)
        if kept != (order.recipe_hash, order.adapter_digest, order.clip_norm):
            raise OrderRefusedError(
                f"round {self.round_number} was ordered before with another recipe, adapter or clipping norm: it was "
                "refused; tell the consortium's coordinator"
            )

    @property
    def release(self) -> PaidRelease | None:
        """What leaves with the delta, and what pays; None if nothing does."""
        return None if self.charge is None else PaidRelease(charge=self.charge, content=self.values_digest)

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
            line, _, body = read_file(self._file, LONGEST_TENSORS).partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(self._file, error) from error
        except UnreadableError:
            raise self._damaged() from None
        try:
            head = from_json(_Head, line)
        except UnreadableError:
            raise self._damaged() from None
        if head.values != (hashlib.sha256(body).hexdigest() if head.values else ""):
            raise self._damaged()
        if (head.purpose, head.round_number) != (order.purpose, order.round_number):
            return None
        return Kept(
            purpose=head.purpose,
            round_number=head.round_number,
            recipe_hash=head.recipe_hash,
            adapter_digest=head.adapter_digest,
            clip_norm=head.clip_norm,
            weight=head.weight,
            figures=head.figures,
            heldout_loss=head.heldout_loss,
            values=np.frombuffer(body, dtype=_FLOAT32).astype(np.float32) if head.values else None,
            charge=head.charge,
            unclipped=head.unclipped,
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
            recipe_hash=kept.recipe_hash,
            adapter_digest=kept.adapter_digest,
            clip_norm=kept.clip_norm,
            weight=kept.weight,
            heldout_loss=kept.heldout_loss,
            charge=kept.charge,
            unclipped=kept.unclipped,
            figures=kept.figures,
            values="" if kept.values is None else hashlib.sha256(body).hexdigest(),
        )
        write_atomically(self._file, head.model_dump_json().encode() + b"\n" + body, mode=0o600)
        self._forget_oldest()

    def mark_sent(self, order: RoundOrder) -> bool:
        """Notes, durably, that a vector of the order's round is about to leave; whether it is the first one.

        Raises:
            StorageError: it could not be written. The vector must not leave.
        """
        return create_once(self._mark(order))

    def was_sent(self, order: RoundOrder) -> bool:
        """Whether a vector of the order's round has left, or was about to."""
        return self._mark(order).exists()

    def _mark(self, order: RoundOrder) -> Path:
        return self._directory / f"{self._file.name}.{order.purpose}-{order.round_number}.sent"

    def _forget_oldest(self) -> None:
        files = [path for path in self._directory.iterdir() if not path.name.startswith(".")]
        sent = {path.name.partition(".")[0] for path in files if path.suffix == ".sent"}
        others = [path for path in files if path.suffix != ".sent" and path != self._file]
        for left in (True, False):
            of_kind = [path for path in others if (path.name in sent) == left]
            for path in sorted(of_kind, key=lambda path: path.stat().st_mtime_ns)[: 1 - _RUNS_KEPT]:
                path.unlink(missing_ok=True)

    def _damaged(self) -> StorageError:
        return StorageError(
            f"{self._file} is damaged: move it away, and the site does the round anew, or sits it out if it was sent"
        )


@dataclass(frozen=True)
class SentMark:
    """That a vector of a round has left, or was about to."""

    run: str
    purpose: str
    round_number: int


def sent_marks(directory: Path) -> Iterator[SentMark]:
    """All of the site in `directory`, of every run and mechanism; in no order.

    Raises:
        OSError: they cannot be read.
    """
    for path in (directory / "outbox").iterdir() if (directory / "outbox").exists() else ():
        found = _MARK.fullmatch(path.name)
        if found is not None:
            yield SentMark(found["run"], found["purpose"], int(found["round"]))


def _bytes_of(values: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values, dtype=_FLOAT32).tobytes()
