"""What may be spent: charging a data set, releasing, settling, and refusing.

What a data set has spent is measured by composing the privacy losses (`sealora_common.privacy.accounting`) of all
charges against it and against any data set that shares somebody with it, whatever runs they belong to; never by adding
epsilons up. No member of the data set is in more than that, so it bounds what each of them has lost; and data that
grows, shrinks or is corrected goes on where it stood. A data set without a common member starts afresh.

A record is known by its text, and by its whole row where it has stood in a file, whichever of its fields a recipe
reads; a person by their identifier, and by the rows that they stand in, whichever field a recipe tells persons apart
by. A site that rewrites all records, or gives all persons new identifiers, presents members that the ledger cannot know
again; that is for the site's own rules to exclude.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from sealora_client.data.fingerprint import DataSet
from sealora_client.ledger.charge import Charge, ChargeReference, PaidRelease
from sealora_client.ledger.entries import (
    Accepted,
    Charged,
    DataSetAdded,
    Released,
    Repeated,
    Restored,
    Settled,
    Voided,
)
from sealora_client.ledger.journal import Journal, Verified
from sealora_client.ledger.members import KeyedMembers
from sealora_client.ledger.overspend import Limits, repeats_that_fit
from sealora_client.ledger.state import ChargeRow, DataSetRow, LedgerState
from sealora_common.entropy import insecure_seed_in_use
from sealora_common.errors import AlreadyReleasedError, BudgetError
from sealora_common.identity import Identity
from sealora_common.privacy.accounting import PrivacyEvent, check_delta, epsilon_pld


class Ledger:
    """The ledger in one SQLite file and the head beside it. Safe to share between processes and threads.

    Args:
        path: its file; begun if it is missing.
        identity: the site's, which signs every entry. Without one a signed ledger can only be read, and a new one
            is not signed.

    Raises:
        StorageError: (by every method as well) the file cannot be read or written, is not a ledger, is damaged, or
            is signed by another key than the identity's.
    """

    def __init__(self, path: Path, identity: Identity | None = None) -> None:
        self.path = path
        self._journal = Journal(path, identity)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. Closing twice does no harm."""
        self._journal.close()

    def charge(
        self,
        *,
        dataset: DataSet,
        run: str,
        round_number: int,
        event: PrivacyEvent,
        delta: float,
        epsilon_limit: float,
        run_epsilon_limit: float = math.inf,
        planned: int = 0,
        once: bool = False,
    ) -> Charge:
        """Pays for one round's training, durably, or refuses it. Call it before training starts.

        If the same round of the same data set was charged before and that charge is still open, it is taken up again
        and costs nothing more: a restarted site trains the round again. That is sound because what was computed under
        the charge never left the site and is gone; one release per charge is what the adversary sees and what was
        counted. It holds only if nothing of the lost attempt is used again: the caller starts the repeat from the
        adapter and optimiser state of the last released round, and never trains twice to pick one result.

        Open charges of other rounds or runs stand in nobody's way for longer than there is room: where there is none,
        they are voided, the oldest first. Nothing has left under them, and once voided nothing can, so they cost
        nobody's privacy anything; what a server orders and never collects does not spend the budget.

        Args:
            dataset: the units that take part.
            run: the run's identity.
            round_number: first round is 1.
            event: all DP-SGD steps of the round, or the one release of an evaluation.
            delta: the delta at which the limits are meant.
            epsilon_limit: most that all charges that count against this data set may cost together; infinity for no
                limit.
            run_epsilon_limit: most that this run's charges of them may cost: what its recipe promises.
            planned: how many charges of this kind the run may take in all, for the judgement of other runs.
            once: refuse if something of this kind, round and run has left already: it may leave again, but nothing else
                in its place.

        Raises:
            AlreadyReleasedError: see `once`.
            BudgetError: the charge would overspend, delta is not below 1 / (number of units), or the data set shares
                records with one charged by another unit of privacy. Nothing is charged.
        """
        # Outside the lock: costs take a while (the first loads libraries), and other processes wait for the lock. What
        # is asked again under it is remembered, unless somebody charged meanwhile.
        charged = self.charges(dataset)
        for rows in (charged, [row for row in charged if row.run == run]):
            epsilon_pld([*(row.event for row in rows), event], delta)
        keyed = self._keyed(dataset)
        check_delta(delta, len(dataset))
        with self._journal.writing() as state:
            dataset = self._named(state, dataset)
            overlaps = self._overlaps(state, dataset, keyed)
            rows = state.against(overlaps)
            insecure = insecure_seed_in_use()

            def leave(charge_id: int, epsilon_after: float) -> Charge:
                link = state.hashes[charge_id - 1].hex()
                return Charge(charge_id, link, run, round_number, dataset.fingerprint, event, delta, epsilon_after)

            if once:
                _require_unreleased(rows, run, round_number, event)
            for row in rows:
                if row.is_unused and _same_round(row, dataset, run, round_number, event):
                    self._journal.append(Repeated, charge=row.id, insecure=insecure)
                    return leave(row.id, epsilon_pld([other.event for other in rows], delta))
            limits = Limits(f"data set {dataset.fingerprint[:12]}", epsilon_limit, run, run_epsilon_limit, delta)
            after, in_the_way = limits.make_room(rows, event)
            for row in in_the_way:
                self._journal.append(Voided, charge=row.id)
            known = state.datasets.get(dataset.fingerprint)
            dataset_id = self._add(dataset, keyed, overlaps) if known is None else known.id
            charge_id = self._journal.append(
                Charged,
                dataset=dataset_id,
                run=run,
                round_number=round_number,
                noise_multiplier=event.noise_multiplier,
                sample_rate=event.sample_rate,
                steps=event.steps,
                noise=event.noise,
                units=event.grid_steps,
                delta=delta,
                epsilon_limit=_finite(epsilon_limit),
                run_epsilon_limit=_finite(run_epsilon_limit),
                planned=planned,
                insecure=insecure,
            )
            return leave(charge_id, after)

    def mark_released(self, charge_id: int, content: str = "") -> None:
        """Records, durably, that the charge's result is about to leave the site. A charge pays for one result.

        A site that dies between this and sending has paid for nothing; the other order could release unpaid.

        Args:
            charge_id: the charge.
            content: SHA-256 (hex) of the result. It may leave again under the same charge, since whoever has it learns
                nothing more from a second copy; no other result may. Empty: nothing may leave again.

        Raises:
            BudgetError: the charge released another result already (as when the same site runs twice and both trained
                under it), was settled or voided, or is not in this ledger. The result must not leave.
        """
        with self._journal.writing(head_may_lag=True) as state:
            self._release(state, charge_id, content)

    def release(self, releases: Sequence[PaidRelease]) -> None:
        """As `mark_released`, for all that leaves in one message: all of it is recorded, or nothing.

        Raises:
            BudgetError: one of them may not leave, or its charge is of another ledger. Nothing is recorded.
        """
        with self._journal.writing(head_may_lag=True) as state:
            for paid in releases:
                if not _is_here(state, paid.charge):
                    raise BudgetError(
                        f"charge {paid.charge.id} is not the one of this privacy ledger {self.path}, so this round's "
                        "result stays here: let the site train again"
                    )
                self._release(state, paid.charge.id, paid.content)

    def can_release(self, paid: PaidRelease) -> bool:
        """Whether `release` would let it leave, for the first time or again."""
        with self._journal.reading() as state:
            row = state.charges.get(paid.charge.id)
            if row is None or not _is_here(state, paid.charge):
                return False
            return row.is_unused or (bool(paid.content) and row.content == paid.content)

    def _release(self, state: LedgerState, charge_id: int, content: str) -> None:
        row = state.charges.get(charge_id)
        if row is not None and content and row.content == content:
            return
        if row is None or not row.is_unused:
            raise BudgetError(
                f"charge {charge_id} of the privacy ledger {self.path} {_state_of(row)}, so this round's result "
                "stays here: check that the site does not run twice, then let it train again"
            )
        self._journal.append(Released, charge=charge_id, content=content)

    def settle(self, charge_id: int) -> None:
        """Closes an open charge whose round is over and lost. It stays spent for good, unlike one that is voided.

        From then on no result can leave under it, and the same round would be charged anew.

        Raises:
            BudgetError: the charge is not open.
        """
        with self._journal.writing() as state:
            row = state.charges.get(charge_id)
            if row is None or not row.is_open:
                raise BudgetError(f"charge {charge_id} of the privacy ledger {self.path} is not open: see its history")
            self._journal.append(Settled, charge=charge_id)

    def spent(self, dataset: DataSet | str, delta: float) -> float:
        """The epsilon, at `delta`, of all charges that count against the data set, released or still open.

        Args:
            dataset: a data set, or the fingerprint of one that was charged.
            delta: above 0 and below 1.

        Raises:
            BudgetError: a fingerprint is not in the ledger, or the units of privacy do not go together.
        """
        return epsilon_pld([row.event for row in self.charges(dataset)], delta)

    def rounds_left(self, dataset: DataSet | str, event: PrivacyEvent, delta: float, epsilon_limit: float) -> int:
        """How many more rounds of `event` the limit leaves room for, at most a million."""
        return repeats_that_fit([row.event for row in self.charges(dataset)], event, delta, epsilon_limit)

    def charges(self, dataset: DataSet | str | None = None) -> list[ChargeRow]:
        """The charges that count against one data set (as for `spent`), or all and the voided ones, in order."""
        if isinstance(dataset, DataSet):
            keyed = self._keyed(dataset)
            with self._journal.reading() as state:
                return state.against(self._overlaps(state, self._named(state, dataset), keyed))
        with self._journal.reading() as state:
            if dataset is None:
                return list(state.charges.values())
            if (row := state.datasets.get(dataset)) is None:
                raise BudgetError(f"no data set {dataset[:12]} was charged in the privacy ledger {self.path}")
            return state.against(row.overlaps)

    def datasets(self) -> list[DataSetRow]:
        """The data sets that were charged, in order of their first charges."""
        with self._journal.reading() as state:
            return list(state.datasets.values())

    def verify(self) -> Verified:
        """Reads the whole ledger anew and checks every hash, every signature, every list of members, and the head.

        Raises:
            StorageError: names the first entry that is wrong, and what to do.
        """
        return self._journal.verify()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While it is entered nobody can charge or release anything: whoever copies a site needs that."""
        with self._journal.writing():
            yield

    def backwards(self) -> list[int]:
        """Numbers of entries whose time is before an earlier entry's: the clock was set back. Order is by number."""
        with self._journal.reading() as state:
            return list(state.backwards)

    def name_of(self, dataset: DataSet) -> str:
        """The name that a charge of this data set has here, or would have."""
        with self._journal.reading() as state:
            return self._named(state, dataset).fingerprint

    def marks(self) -> list[Accepted | Restored]:
        """The entries by which a person accepted or restored the ledger."""
        with self._journal.reading() as state:
            return list(state.marks)

    def _keyed(self, dataset: DataSet) -> KeyedMembers:
        if not dataset.members or not dataset.records:
            raise BudgetError(f"data set {dataset.fingerprint[:12]} has no records: there is nothing to charge")
        with self._journal.reading() as state:
            key = state.member_key
        return KeyedMembers.of(dataset, key)

    def _named(self, state: LedgerState, dataset: DataSet) -> DataSet:
        """The data set by the name that it has here.

        The rows of a known one may be others by now: its file has got another column, or other rows of the same texts,
        or it was charged before there were rows. They are to be known from now on, so it is another state of the data.
        """
        known = state.datasets.get(dataset.fingerprint)
        if known is None or self._journal.members(known).knows_rows_of(dataset, state.member_key):
            return dataset
        return replace(dataset, fingerprint=dataset.name_of_rows)

    def _overlaps(self, state: LedgerState, dataset: DataSet, keyed: KeyedMembers) -> frozenset[int]:
        """Ids of the data sets, the data set itself among them if it is there, whose charges count against it."""
        known = state.datasets.get(dataset.fingerprint)
        if known is not None:
            if known.members_digest != keyed.digest and not self._journal.members(known).holds(
                dataset, state.member_key
            ):
                raise BudgetError(
                    f"data set {dataset.fingerprint[:12]} is in the privacy ledger {self.path} with other members: "
                    "a fingerprint must follow from the content"
                )
            return known.overlaps
        overlapping = [row for row in state.datasets.values() if self._journal.members(row).overlaps(keyed)]
        for row in overlapping:
            if row.unit != dataset.unit:
                raise BudgetError(
                    f"data set {dataset.fingerprint[:12]} is to be charged by {dataset.unit}, but shares records with "
                    f"data set {row.fingerprint[:12]}, which was charged by {row.unit}: guarantees for records and for "
                    f"persons cannot be composed, so keep to a recipe with the unit {row.unit}, or take other data"
                )
        return frozenset(row.id for row in overlapping)

    def _add(self, dataset: DataSet, keyed: KeyedMembers, overlaps: frozenset[int]) -> int:
        number = self._journal.append(
            DataSetAdded,
            fingerprint=dataset.fingerprint,
            unit=dataset.unit,
            size=len(dataset),
            members_digest=keyed.digest,
            overlaps=tuple(sorted(overlaps)),
        )
        self._journal.append_members(number, keyed)
        return number


def _require_unreleased(rows: Sequence[ChargeRow], run: str, round_number: int, event: PrivacyEvent) -> None:
    for row in rows:
        same = (row.run, row.round_number) == (run, round_number) and row.is_of_kind(event)
        if same and (row.released is not None or row.uncertain):
            raise AlreadyReleasedError(
                f"charge {row.id} of run {run[:12]} has released round {round_number} already, or may have, and what "
                "was released is not here any more to be sent again"
            )


def _is_here(state: LedgerState, reference: ChargeReference) -> bool:
    row = state.charges.get(reference.id)
    return row is not None and row.hash == reference.hash


def _state_of(row: ChargeRow | None) -> str:
    if row is None:
        return "is unknown"
    if row.released is not None:
        return "is released already"
    if row.uncertain:
        return "may have been released before the ledger was restored"
    return "is settled" if row.settled is not None else "was voided"


def _same_round(row: ChargeRow, dataset: DataSet, run: str, round_number: int, event: PrivacyEvent) -> bool:
    same = (dataset.fingerprint, run, round_number, event)
    return (row.dataset, row.run, row.round_number, row.event) == same


def _finite(limit: float) -> float | None:
    return limit if math.isfinite(limit) else None
