"""A chain of five receipts, of a consortium and of one that is another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sealora_common.receipts.check import check_chain
from sealora_common.receipts.receipt import Receipt

from quorum import RUN, Consortium

HOME = Consortium()
ABROAD = Consortium(name="other ")
CHAIN = HOME.chain(5)
NAMES = HOME.names


def check(receipts: Sequence[Receipt], **changes: Any) -> list[Any]:
    return check_chain(receipts, **({"rosters": HOME.rosters, "run": RUN} | changes))


def replaced(number: int, receipt: Receipt) -> list[Receipt]:
    return [*CHAIN[: number - 1], receipt, *CHAIN[number:]]


def reopened(receipt: Receipt, **changes: Any) -> Receipt:
    """A receipt with other evidence for its opening, signed by the server."""
    (opening,) = receipt.openings
    return receipt.model_copy(update={"openings": (opening.model_copy(update=changes),)}).signed_by(HOME.server)
