"""The site's privacy ledger: every charge against each of its data sets, across runs, recipes and restarts.

A charge is committed to the disk before training begins, so that no noisy gradient exists that is not paid for, and it
is marked released, with the digest of what leaves, before a masked vector leaves the site. A process killed at any
instant can therefore only have charged too much. The same vector may leave again under its charge, no other may. A
charge under which nothing left can be taken back to make room for another: it is voided first, and then nothing can
leave under it any more.

    with Ledger(path, identity) as ledger:
        charge = ledger.charge(dataset=dataset, run=run, round_number=3, event=event,
                               delta=1e-5, epsilon_limit=8.0)
        trained = train_round(..., leave=charge)
        ledger.release([PaidRelease(charge=charge.reference, content=digest_of(trained))])
        send(trained)

`ledger`     what may be spent: charging, releasing, refusing
`charge`     leave to compute one release, which training asks for
`overspend`  the refusal's sentence, and how many rounds still fit
`members`    who is in a data set, as keyed digests, and whether two data sets share somebody
`state`      what follows from the entries: data sets, charges, keys
`entries`    the kinds of entry, their hashes and signatures
`journal`    the append-only file of entries, checked whenever it is opened
`head`       the small file beside it that tells whether its end is missing
`store`      SQLite, durably
`export`     the ledger as signed lines of JSON, and back

What the checks of the journal can and cannot show. Each entry's hash covers the entry before it, and each is signed
by the site: whoever changes, removes or reorders entries without the site's private key is found at the next opening.
Whoever cuts off the end is found by the head, which is signed too, unless they put back ledger and head together as
they were at an earlier time. Only a copy kept elsewhere shows that: `sealora-site budget export`, and later
`sealora-site budget verify --export`.
"""

from __future__ import annotations

from sealora_client.ledger.charge import Charge, ChargeReference, Leave, PaidRelease, Rehearsal
from sealora_client.ledger.head import has_ledger
from sealora_client.ledger.journal import Verified
from sealora_client.ledger.ledger import Ledger
from sealora_client.ledger.state import ChargeRow, DataSetRow
from sealora_client.ledger.store import LEDGER

__all__ = [
    "LEDGER",
    "Charge",
    "ChargeReference",
    "ChargeRow",
    "DataSetRow",
    "Leave",
    "Ledger",
    "PaidRelease",
    "Rehearsal",
    "Verified",
    "has_ledger",
]
