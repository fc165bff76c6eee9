"""What runs may have spent that the ledger does not know of: after it was put back, all that they could yet take.

A ledger that is put back as it was at an earlier time does not know what left since. If the site took part meanwhile in
runs that had begun by then, and in no other, then what left is at most what these runs had yet to take: the ledger
knows how many charges each planned. That much is charged, in one entry for each run, data set and kind of charge, of
round 0, and closed at once: it stays spent, and nothing can leave under it. A run whose charges had been taken back by
then is no exception: it may have been charged anew since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sealora_client.ledger.entries import Charged, Settled
from sealora_client.ledger.state import REST_OF_RUN, ChargeRow, LedgerState
from sealora_common.errors import StorageError

_KINDS = 2

Append = Callable[..., int]
"""Adds an entry of a kind with these fields, and returns its number (`Journal.append`)."""


def write_off(state: LedgerState, append: Append) -> list[str]:
    """Charges what is left of every run that the ledger knows; returns their names.

    Raises:
        StorageError: the ledger does not know all that a run planned: an earlier version made its charges, or the copy
            is from before its first training or its first evaluation.
    """
    written = []
    for run, rows in _runs(state).items():
        for row, left in list(_left(rows)):
            _append(state, append, row, left)
            written.append(run)
    return sorted(set(written))


def _runs(state: LedgerState) -> dict[str, list[ChargeRow]]:
    """The charges of each run that is not written off already, also those that were taken back."""
    runs: dict[str, list[ChargeRow]] = {}
    for row in state.charges.values():
        runs.setdefault(row.run, []).append(row)
    return {run: rows for run, rows in runs.items() if not any(row.is_rest_of_run for row in rows)}


def _left(rows: list[ChargeRow]) -> Iterator[tuple[ChargeRow, int]]:
    """For each kind of charge its last one, and how many of it the run may yet take."""
    kinds = list(dict.fromkeys(row.event for row in rows))
    # A run takes two: evaluations, the first of which is done before the first training is charged, and trainings, the
    # first of which may come before any evaluation at a site that joined late.
    if len(kinds) < _KINDS:
        raise StorageError(
            f"run {rows[0].run[:12]} had been charged for training alone or for evaluation alone, so nothing tells "
            "what the other has spent since: take a newer copy, or these records must not be used for private training "
            "again"
        )
    for event in kinds:
        of_kind = [row for row in rows if row.event == event]
        planned = max(row.planned for row in of_kind)
        if not planned:
            raise StorageError(
                f"run {rows[0].run[:12]} was charged by an earlier version, which did not note how long it may go on: "
                "nothing tells what it has spent since, so these records must not be used for private training again"
            )
        taken = sum(row.voided is None for row in of_kind)
        if planned > taken:
            yield of_kind[-1], planned - taken


def _append(state: LedgerState, append: Append, row: ChargeRow, left: int) -> None:
    event = row.event.repeated(left)
    fields: dict[str, Any] = {
        "dataset": state.datasets[row.dataset].id,
        "run": row.run,
        "round_number": REST_OF_RUN,
        "noise_multiplier": event.noise_multiplier,
        "sample_rate": event.sample_rate,
        "steps": event.steps,
        "noise": event.noise,
        "units": event.grid_steps,
        "delta": row.delta,
        "epsilon_limit": row.epsilon_limit,
        "run_epsilon_limit": None,
        "insecure": False,
    }
    append(Settled, charge=append(Charged, **fields))
