"""What of a run's receipts comes with an order: those that a site lacks, and the rosters they are under."""

from __future__ import annotations

from collections.abc import Sequence

from sealora_common.receipts.receipt import Receipt, chain_to_bytes
from sealora_common.roster import Roster
from sealora_common.roster.book import RosterBook, rosters_to_bytes
from sealora_common.round.wire_format import RECEIPTS, ROSTERS


def lacking(receipts: Sequence[Receipt], held: int, book: RosterBook, roster: Roster) -> dict[str, bytes]:
    """Fields of an order's message for a site that has the first `held` receipts.

    Args:
        receipts: all of the run.
        held: how many of them the site says it has.
        book: the rosters that the run has been under.
        roster: the present one, which every site has.

    Raises:
        PolicyError: a kept roster is damaged.
    """
    new = receipts[held:]
    fields = {RECEIPTS: chain_to_bytes(new)}
    earlier = dict.fromkeys(receipt.roster_hash for receipt in new if receipt.roster_hash != roster.hash.hex())
    found = [book.find(digest, coordinator=roster.coordinator_pin) for digest in earlier]
    rosters = [each for each in found if each is not None]
    return fields | {ROSTERS: rosters_to_bytes(rosters)} if rosters else fields
