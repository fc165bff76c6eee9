"""The site's privacy ledger: every charge against each of its data sets, across runs, recipes and restarts.

A charge is committed to the disk before training begins, so that no noisy gradient exists that is not paid for,
and it is marked released before a masked delta leaves the site. A process killed at any instant can therefore
only have charged too much.

    with Ledger(path) as ledger:
        charge = ledger.charge(dataset=fingerprint, run=run, round_number=3, mechanism=mechanism,
                               delta=1e-5, epsilon_limit=8.0)
        trained = train_round(...)
        ledger.mark_released(charge.id)
        send(trained)

What is spent is measured by exact Rényi composition of all the segments (`sealora_common.privacy.accounting`),
whatever runs they belong to; never by adding epsilons up.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from sealora_client.ledger_store import immediate, open_store, storage_failures
from sealora_common.entropy import insecure_seed_in_use
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import Mechanism, epsilon_rdp

_TOLERANCE = 1e-9  # of epsilon: a run calibrated to its budget must not fail on its last round by a rounding
_MANY = 1_000_000  # rounds or steps beyond which counting further tells nobody anything
_COLUMNS = "id, dataset, run, round, noise_multiplier, sample_rate, steps, created, released, insecure"


@dataclass(frozen=True)
class Charge:
    """Leave to train one round: the row that pays for it, and what the data set will have spent with it."""

    id: int
    epsilon_after: float


@dataclass(frozen=True)
class ChargeRow:
    """One row of the ledger.

    Attributes:
        id: increasing in order of charging.
        dataset: fingerprint of the data set (`sealora_client.data.fingerprint`).
        run: the run's identity.
        round_number: first round is 1.
        mechanism: the steps it pays for.
        created: when it was charged, UTC, ISO 8601.
        released: when its result was about to leave the site, UTC, ISO 8601; None if it never was.
        insecure: whether its noise came from the insecure test seed and so protects nothing.
    """

    id: int
    dataset: str
    run: str
    round_number: int
    mechanism: Mechanism
    created: str
    released: str | None
    insecure: bool


class Ledger:
    """The ledger in one SQLite file. Safe to share between processes and threads.

    Raises:
        StorageError: (by every method as well) the file cannot be read or written, or is not a ledger.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection = open_store(path)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. Closing twice does no harm."""
        with self._lock:
            self._connection.close()

    def charge(
        self,
        *,
        dataset: str,
        run: str,
        round_number: int,
        mechanism: Mechanism,
        delta: float,
        epsilon_limit: float,
        run_epsilon_limit: float = math.inf,
    ) -> Charge:
        """Pays for one round's training, durably, or refuses it. Call it before training starts.

        If the same round was charged before and never released, that charge is returned and nothing is added: a
        restarted site trains the round again. That is sound because what was computed under the charge never
        left the site and is gone; one release per charge is what the adversary sees and what was counted. It holds
        only if nothing of the lost attempt is used again: the caller starts the repeat from the adapter and
        optimiser state of the last released round, and never trains twice to pick one result.

        Args:
            dataset: fingerprint of the data set.
            run: the run's identity.
            round_number: first round is 1.
            mechanism: all DP-SGD steps of the round.
            delta: the delta at which the limit is meant.
            epsilon_limit: most that all charges of this data set may cost together; infinity for no limit.
            run_epsilon_limit: most that this run's charges of them may cost: what its recipe promises.

        Raises:
            BudgetError: the charge would overspend. Nothing is charged.
        """
        # Outside the lock: the first cost takes seconds (it loads torch), and other processes wait for the lock.
        epsilon_rdp([mechanism], delta)
        with self._lock, immediate(self._connection, self.path):
            rows = self._rows(dataset)
            spent = [row.mechanism for row in rows]
            for row in rows:
                if row.released is None and _same_round(row, run, round_number, mechanism):
                    if insecure_seed_in_use():
                        self._connection.execute("UPDATE charges SET insecure = 1 WHERE id = ?", (row.id,))
                    return Charge(id=row.id, epsilon_after=epsilon_rdp(spent, delta))
            after = epsilon_rdp([*spent, mechanism], delta)
            if not after <= epsilon_limit + _TOLERANCE:
                raise _overspent(f"data set {dataset[:12]}", spent, mechanism, delta, epsilon_limit)
            of_run = [row.mechanism for row in rows if row.run == run]
            if not epsilon_rdp([*of_run, mechanism], delta) <= run_epsilon_limit + _TOLERANCE:
                raise _overspent(f"run {run[:12]}", of_run, mechanism, delta, run_epsilon_limit)
            cursor = self._connection.execute(
                "INSERT INTO charges (dataset, run, round, noise_multiplier, sample_rate, steps, created, insecure) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    dataset,
                    run,
                    round_number,
                    mechanism.noise_multiplier,
                    mechanism.sample_rate,
                    mechanism.steps,
                    _now(),
                    insecure_seed_in_use(),
                ),
            )
            return Charge(id=int(cursor.lastrowid or 0), epsilon_after=after)

    def mark_released(self, charge_id: int) -> None:
        """Records, durably, that the charge's result is about to leave the site. A charge pays for one release.

        A site that dies between this and sending has paid for nothing; the other order could release unpaid.

        Raises:
            BudgetError: the charge is released already (as when the same site runs twice and both trained under
                it) or is not in this ledger. The result must not leave.
        """
        with self._lock, immediate(self._connection, self.path):
            marked = self._connection.execute(
                "UPDATE charges SET released = ? WHERE id = ? AND released IS NULL", (_now(), charge_id)
            )
            if marked.rowcount != 1:
                raise BudgetError(
                    f"charge {charge_id} of the privacy ledger {self.path} is released already or unknown, so this "
                    "round's result stays here: check that the site does not run twice, then let it train again"
                )

    def spent(self, dataset: str, delta: float) -> float:
        """The epsilon, at `delta`, of all charges against the data set, released or not."""
        return epsilon_rdp([row.mechanism for row in self.history(dataset)], delta)

    def rounds_left(self, dataset: str, mechanism: Mechanism, delta: float, epsilon_limit: float) -> int:
        """How many more rounds of `mechanism` the limit leaves room for, at most a million."""
        spent = [row.mechanism for row in self.history(dataset)]
        return _repeats_that_fit(spent, mechanism, delta, epsilon_limit)

    def history(self, dataset: str | None = None) -> list[ChargeRow]:
        """The rows of one data set, or of all, in order of charging."""
        with self._lock, storage_failures(self.path):
            return self._rows(dataset)

    def _rows(self, dataset: str | None) -> list[ChargeRow]:
        where, values = ("", ()) if dataset is None else (" WHERE dataset = ?", (dataset,))
        cursor: sqlite3.Cursor = self._connection.execute(
            f"SELECT {_COLUMNS} FROM charges{where} ORDER BY id",  # noqa: S608 - constants only
            values,
        )
        return [
            ChargeRow(
                id=row_id,
                dataset=of,
                run=run,
                round_number=round_number,
                mechanism=Mechanism(noise_multiplier=noise, sample_rate=rate, steps=steps),
                created=created,
                released=released,
                insecure=bool(insecure),
            )
            for row_id, of, run, round_number, noise, rate, steps, created, released, insecure in cursor
        ]


def _same_round(row: ChargeRow, run: str, round_number: int, mechanism: Mechanism) -> bool:
    return (row.run, row.round_number, row.mechanism) == (run, round_number, mechanism)


def _overspent(
    what: str, spent: Sequence[Mechanism], mechanism: Mechanism, delta: float, epsilon_limit: float
) -> BudgetError:
    before = epsilon_rdp(spent, delta)
    alone = epsilon_rdp([mechanism], delta)
    after = epsilon_rdp([*spent, mechanism], delta)
    fitting = _repeats_that_fit(spent, replace(mechanism, steps=1), delta, epsilon_limit)
    return BudgetError(
        f"{what} has spent epsilon {before:.4g} of {epsilon_limit:.4g} at delta {delta:.2g}, and this "
        f"round (noise multiplier {mechanism.noise_multiplier:.4g}, sample rate {mechanism.sample_rate:.4g}, "
        f"{mechanism.steps} steps; epsilon {alone:.4g} by itself) would bring it to {after:.4g}: no round of this kind "
        f"fits any more ({fitting} of its {mechanism.steps} steps would); order more noise or fewer steps, or raise "
        "the limit (the site's policy for a data set, privacy.epsilon or privacy.spare_rounds for a run)"
    )


def _repeats_that_fit(spent: Sequence[Mechanism], mechanism: Mechanism, delta: float, epsilon_limit: float) -> int:
    """How often `mechanism` can still be composed with what is spent, at most `_MANY`."""

    def fits(repeats: int) -> bool:
        more = replace(mechanism, steps=mechanism.steps * repeats)
        return epsilon_rdp([*spent, more], delta) <= epsilon_limit + _TOLERANCE

    if not fits(1):
        return 0
    low, high = 1, _MANY + 1  # fits(low) holds throughout, and costs only grow with repeats
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
