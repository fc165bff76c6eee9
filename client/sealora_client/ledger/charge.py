"""Leave to compute something noisy about a site's records: what training and evaluation ask for before they begin.

A noise multiplier that somebody hands over proves nothing. A `Charge` comes from the ledger alone and says what was
paid for; a `Rehearsal` says in its name that what is computed under it may not leave the machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from sealora_common.privacy.accounting import PrivacyEvent


@dataclass(frozen=True)
class Charge:
    """Leave to compute one release, as `Ledger.charge` gives it once the charge is on the disk.

    Attributes:
        id: number of the ledger's entry.
        hash: SHA-256 (hex) of the entry and all before it. A number is given out anew when a ledger is restored; this
            is not.
        run: the run's identity.
        round_number: first round is 1.
        dataset: fingerprint of the data set that was charged.
        event: what is paid for; nothing with less noise, more steps or a higher sampling rate is.
        delta: at which the limits were meant.
        epsilon_after: what the data set has spent with it, at that delta.
    """

    id: int
    hash: str
    run: str
    round_number: int
    dataset: str
    event: PrivacyEvent
    delta: float
    epsilon_after: float

    @property
    def reference(self) -> ChargeReference:
        """What stands for it in files."""
        return ChargeReference(id=self.id, hash=self.hash)


class ChargeReference(BaseModel):
    """One charge of one ledger, and no other's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: int
    hash: str


class PaidRelease(BaseModel):
    """Something that is about to leave the site, and the charge that pays for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    charge: ChargeReference
    content: str
    """SHA-256 (hex) of it: the same may leave again under the same charge. Empty: nothing may leave again."""


@dataclass(frozen=True)
class Rehearsal:
    """Leave to compute what never leaves this machine and is not paid for: an audit, a trial, a benchmark."""

    event: PrivacyEvent


Leave = Charge | Rehearsal
