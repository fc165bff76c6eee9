"""Leave to compute something noisy about a site's records: what training and evaluation ask for before they begin.

A noise multiplier that somebody hands over proves nothing. A `Charge` comes from the ledger alone and says what was
paid for; a `Rehearsal` says in its name that what is computed under it may not leave the machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealora_common.privacy.accounting import Mechanism


@dataclass(frozen=True)
class Charge:
    """Leave to compute one release, as `Ledger.charge` gives it once the charge is on the disk.

    Attributes:
        id: number of the ledger's entry.
        run: the run's identity.
        round_number: first round is 1.
        dataset: fingerprint of the data set that was charged.
        mechanism: what is paid for; nothing with less noise, more steps or a higher sampling rate is.
        delta: at which the limits were meant.
        epsilon_after: what the data set has spent with it, at that delta.
    """

    id: int
    run: str
    round_number: int
    dataset: str
    mechanism: Mechanism
    delta: float
    epsilon_after: float


@dataclass(frozen=True)
class Rehearsal:
    """Leave to compute what never leaves this machine and is not paid for: an audit, a trial, a benchmark."""

    mechanism: Mechanism


Leave = Charge | Rehearsal
