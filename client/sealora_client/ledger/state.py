"""What follows from the ledger's entries, taken in order: its keys, its data sets, and where each charge stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from sealora_client.ledger.entries import (
    GENESIS,
    Accepted,
    Begun,
    Charged,
    DamageError,
    DataSetAdded,
    Entry,
    Released,
    Repeated,
    Restored,
    SealedEntry,
    Settled,
    Voided,
)
from sealora_common.errors import BudgetError
from sealora_common.identity import key_from_text
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.recipe.sections.data import Unit

ChargeState = Literal["open", "released", "settled", "voided"]

REST_OF_RUN = 0
"""Round of a charge for all that a run may have spent and the ledger does not know (`write_off`)."""


@dataclass(frozen=True)
class DataSetRow:
    """One data set that was charged.

    Attributes:
        id: number of its entry.
        fingerprint: its name (`sealora_client.data.fingerprint`).
        unit: whom privacy protects.
        size: number of units.
        created: when it was first charged, UTC, ISO 8601.
        members_digest: SHA-256 (hex) of its members as the ledger keeps them.
        overlaps: ids of the data sets that share somebody with it, its own among them.
    """

    id: int
    fingerprint: str
    unit: Unit
    size: int
    created: str
    members_digest: str
    overlaps: frozenset[int]


@dataclass(frozen=True)
class ChargeRow:
    """One charge. It is open until it is released, settled or voided, and spent unless it is voided.

    Attributes:
        id: number of its entry, so increasing in order of charging.
        dataset: fingerprint of the data set.
        run: the run's identity.
        round_number: first round is 1.
        event: the steps it pays for.
        created: when it was charged, UTC, ISO 8601.
        released: when its result was about to leave the site, UTC, ISO 8601; None if it never was.
        settled: when it was closed unreleased, UTC, ISO 8601; None if it was not.
        voided: when it was taken back, nothing having left under it, UTC, ISO 8601; None if it was not.
        content: SHA-256 (hex) of what was released; empty if nothing was, or if it may not leave again.
        hash: SHA-256 (hex) of its entry and all before it.
        planned: how many charges of its kind its run may take in all; 0 if the ledger does not know.
        repeats: how often it was taken up again while it was open.
        delta: at which its limits were meant.
        epsilon_limit: the data set's limit at the time; None if there was none.
        insecure: whether its noise came from the insecure test seed and so protects nothing.
        uncertain: whether the ledger may have lost entries after it: it was restored from an export, or its head was
            lost. Something may have left under it though it seems open.
    """

    id: int
    dataset: str
    run: str
    round_number: int
    event: PrivacyEvent
    created: str
    released: str | None
    settled: str | None
    voided: str | None
    content: str
    repeats: int
    delta: float
    epsilon_limit: float | None
    insecure: bool
    uncertain: bool = False
    hash: str = ""
    planned: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it is neither released nor settled nor voided."""
        return self.state == "open"

    @property
    def state(self) -> ChargeState:
        """What has become of it."""
        if self.released is not None:
            return "released"
        if self.settled is not None:
            return "settled"
        return "open" if self.voided is None else "voided"

    @property
    def since(self) -> str:
        """When it came into its state, UTC, ISO 8601."""
        return self.released or self.settled or self.voided or self.created

    def is_of_kind(self, event: PrivacyEvent) -> bool:
        """Whether it pays for the same as `event` but for the noise, of which an earlier version added more."""
        return replace(self.event, noise_multiplier=event.noise_multiplier) == event

    @property
    def is_rest_of_run(self) -> bool:
        """Whether it stands for all that its run may have taken besides the other charges."""
        return self.round_number == REST_OF_RUN

    @property
    def is_unused(self) -> bool:
        """Whether it is sure that nothing has left under it, so that something may, or it may be taken back."""
        return self.is_open and not self.uncertain


class LedgerState:
    """The ledger's state after some of its entries.

    Attributes:
        hashes: of the entries taken, in order.
        member_key: under which members are digested.
        datasets: by fingerprint, in order of their entries.
        charges: by number of their entry, in order.
        marks: the entries that a person caused: ledger accepted or restored.
        backwards: numbers of entries written by a clock that stood before an earlier entry's time.
        last: the last entry taken.
    """

    def __init__(self) -> None:
        self.hashes: list[bytes] = []
        self.member_key = b""
        self.datasets: dict[str, DataSetRow] = {}
        self.charges: dict[int, ChargeRow] = {}
        self.marks: list[Accepted | Restored] = []
        self.backwards: list[int] = []
        self.last: Entry | None = None
        self._keys: list[tuple[int, bytes]] = []
        self._fingerprints: dict[int, str] = {}
        self._latest = ""

    @property
    def number(self) -> int:
        """Number of the last entry taken; 0 before the first."""
        return len(self.hashes)

    @property
    def hash(self) -> bytes:
        """Hash of the last entry taken, which the next one must follow."""
        return self.hashes[-1] if self.hashes else GENESIS

    @property
    def key(self) -> bytes:
        """The public key whose holder signs now; empty if entries are not signed."""
        return self._keys[-1][1] if self._keys else b""

    def key_at(self, number: int) -> bytes:
        """The public key that entry `number` must be signed by."""
        return next((key for first, key in reversed(self._keys) if first <= number), b"")

    def extend(self, sealed_entries: Iterable[SealedEntry], *, every_signature: bool = False) -> None:
        """Takes the next entries and checks the signature of the last one, which vouches for all, or of each.

        Raises:
            DamageError: one does not follow from those before, or is not signed by the site. The state are spoilt then.
        """
        last = None
        for last in sealed_entries:
            self.take(last)
            if every_signature:
                self._require_signature(last)
        if last is not None and not every_signature:
            self._require_signature(last)

    def take(self, sealed: SealedEntry) -> None:
        """Takes the next entry, whose signature was checked or just made.

        Raises:
            DamageError: it does not follow from the entries before. The state are spoilt then.
        """
        entry = sealed.read(self.number + 1, self.hash)
        if isinstance(entry, Begun) != (self.number == 0):
            raise DamageError(entry.number, f"a ledger cannot go on with an entry of kind {entry.kind!r} here")
        match entry:
            case Begun():
                self.member_key = bytes.fromhex(entry.member_key)
                self._keys.append((entry.number, _key(entry)))
            case DataSetAdded():
                self._add(entry)
            case Charged():
                self.charges[entry.number] = self._charged(entry, sealed.hash)
            case Repeated():
                row = self._open(entry.number, entry.charge)
                insecure = row.insecure or entry.insecure
                self.charges[row.id] = replace(row, repeats=row.repeats + 1, insecure=insecure)
            case Released():
                row = self._open(entry.number, entry.charge)
                self.charges[row.id] = replace(row, released=entry.created, content=entry.content)
            case Settled():
                self.charges[entry.charge] = replace(self._open(entry.number, entry.charge), settled=entry.created)
            case Voided():
                self.charges[entry.charge] = replace(self._open(entry.number, entry.charge), voided=entry.created)
            case Accepted() | Restored():
                self._keys.append((entry.number, _key(entry)))
                self.marks.append(entry)
                if may_lack_entries(entry):
                    self.charges = {number: replace(row, uncertain=row.is_open) for number, row in self.charges.items()}
        if entry.created < self._latest:
            self.backwards.append(entry.number)
        self._latest = max(self._latest, entry.created)
        self.hashes.append(sealed.hash)
        self.last = entry

    def against(self, overlaps: frozenset[int]) -> list[ChargeRow]:
        """The charges of the data sets with these ids that are spent, in order of charging."""
        fingerprints = {self._fingerprints[number] for number in overlaps}
        return [row for row in self.charges.values() if row.dataset in fingerprints and row.voided is None]

    def _require_signature(self, sealed: SealedEntry) -> None:
        if not sealed.is_signed_by(self.key):
            signer = f"the site's key {self.key.hex()[:12]}" if self.key else "nobody, as the ledger says of itself"
            raise DamageError(self.number, f"it is not signed by {signer}")

    def _add(self, entry: DataSetAdded) -> None:
        if entry.fingerprint in self.datasets or not self._fingerprints.keys() >= set(entry.overlaps):
            raise DamageError(entry.number, "its data set is there already or overlaps one that is not")
        self._fingerprints[entry.number] = entry.fingerprint
        for number in entry.overlaps:
            other = self.datasets[self._fingerprints[number]]
            self.datasets[other.fingerprint] = replace(other, overlaps=other.overlaps | {entry.number})
        self.datasets[entry.fingerprint] = DataSetRow(
            id=entry.number,
            fingerprint=entry.fingerprint,
            unit=entry.unit,
            size=entry.size,
            created=entry.created,
            members_digest=entry.members_digest,
            overlaps=frozenset((*entry.overlaps, entry.number)),
        )

    def _charged(self, entry: Charged, link: bytes) -> ChargeRow:
        if entry.dataset not in self._fingerprints:
            raise DamageError(entry.number, f"it charges data set {entry.dataset}, which is not there")
        try:
            event = entry.event
        except BudgetError as error:
            raise DamageError(entry.number, str(error)) from None
        return ChargeRow(
            id=entry.number,
            dataset=self._fingerprints[entry.dataset],
            run=entry.run,
            round_number=entry.round_number,
            event=event,
            created=entry.created,
            released=None,
            settled=None,
            voided=None,
            content="",
            repeats=0,
            delta=entry.delta,
            epsilon_limit=entry.epsilon_limit,
            insecure=entry.insecure,
            hash=link.hex(),
            planned=entry.planned,
        )

    def _open(self, number: int, charge: int) -> ChargeRow:
        row = self.charges.get(charge)
        if row is None or not row.is_open:
            raise DamageError(number, f"it speaks of charge {charge}, which is not open")
        return row


def may_lack_entries(entry: Accepted | Restored) -> bool:
    """Whether something may have left under a charge that seems open before this entry."""
    if isinstance(entry, Restored):
        return entry.since != "nothing"
    return "head lost" in entry.reason


def _key(entry: Begun | Accepted | Restored) -> bytes:
    return key_from_text(entry.public_key) if entry.public_key else b""
