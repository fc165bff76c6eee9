"""Whether the ledger knows of every round in which receipts prove that this site's vector left.

A ledger that was put back to an earlier state (from a backup, a copy, a machine's snapshot) is whole by its own hashes
and signatures. What it cannot have is the charge for what left since; and of that the receipts of the run tell, which
the sites themselves have signed. So a site that would spend its epsilon twice is found out by the next order, or by the
adapter that the run ended with, whichever brings them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sealora_client.ledger import ChargeRow
from sealora_client.site.directory import Site
from sealora_common.errors import OrderRefusedError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.receipts.receipt import Receipt
from sealora_common.recipe import Recipe

log = logging.getLogger(__name__)


def require_paid(site: Site, run: str, receipts: Sequence[Receipt], recipe: Recipe) -> None:
    """Refuses a run in which more of this site left than its ledger knows.

    Args:
        site: this site.
        run: the run's identity.
        receipts: of the run, checked.
        recipe: the run's.

    Raises:
        OrderRefusedError: the ledger lacks a round; the site's own log says what to do.
        StorageError: the ledger cannot be read.
    """
    if not mechanism_of(recipe).protects:
        return
    took_part = [receipt.round_number for receipt in receipts if site.name in receipt.survivors]
    if not took_part:
        return
    with site.ledger() as ledger:
        own = [row for row in ledger.charges() if row.run == run and _is_spent(row)]
    if any(row.is_rest_of_run for row in own):
        return
    missing = sorted(set(took_part) - {row.round_number for row in own})
    if missing:
        log.error(
            "the privacy ledger does not know of round %d of run %s, though receipts prove that this site's vector of "
            "it left: the ledger was put back to an earlier state, so put the newest one back, or, if the site took "
            "part in no other run since, run `sealora-site budget write-off`",
            missing[0],
            run[:12],
        )
        raise OrderRefusedError(
            f"receipts prove that this site's vector of round {missing[0]} left, and its privacy ledger does not know "
            "of it: it takes no part until its operator has put that right"
        )


def _is_spent(row: ChargeRow) -> bool:
    return row.voided is None and not row.is_unused
