"""Small data sets, charges and ledgers for the tests of the privacy ledger."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

from sealora_client.data.fingerprint import DataSet
from sealora_client.ledger import Charge, ChargeRow, Ledger
from sealora_common.entropy import SeededEntropy
from sealora_common.identity import Identity
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld

DELTA = 1e-5
ROUND = PrivacyEvent(noise_multiplier=1.0, sample_rate=0.05, steps=10)
SITE = Identity.create("site-0", SeededEntropy("the site of the ledger's tests"))
FORGER = Identity.create("site-0", SeededEntropy("somebody else"))


def records(*names: str) -> DataSet:
    """A data set of one record for each name."""
    return DataSet.of_records((name, f"the answer to {name}") for name in names)


def persons(**of_person: list[str]) -> DataSet:
    """A data set by person, with the records of `records` for the names in each person's list."""
    pairs = [(person, name) for person, names in of_person.items() for name in names]
    return DataSet.of_persons((person, name, f"the answer to {name}") for person, name in pairs)


DATA = records("a", "b")


def charge(
    ledger: Ledger,
    round_number: int,
    *,
    dataset: DataSet = DATA,
    run: str = "run-1",
    event: PrivacyEvent = ROUND,
    limit: float = 8.0,
) -> Charge:
    """Charges one round."""
    return ledger.charge(
        dataset=dataset, run=run, round_number=round_number, event=event, delta=DELTA, epsilon_limit=limit
    )


def spend(
    ledger: Ledger, round_number: int, *, dataset: DataSet = DATA, run: str = "run-1", limit: float = 8.0
) -> Charge:
    """Charges one round, and lets what came of it leave."""
    made = charge(ledger, round_number, limit=limit, dataset=dataset, run=run)
    ledger.mark_released(made.id)
    return made


def composed(rounds: int) -> float:
    """What so many rounds cost together."""
    return epsilon_pld([ROUND] * rounds, DELTA)


def write_ledger(path: Path, identity: Identity | None = SITE) -> Path:
    """A ledger of nine entries: 1 begin, 2 dataset, 3 charge, 4 release, 5 charge, 6 release, 7 dataset (overlapping),
    8 charge, 9 repeat."""
    with Ledger(path, identity) as ledger:
        for round_number in (1, 2):
            ledger.mark_released(charge(ledger, round_number).id)
        for _ in range(2):
            charge(ledger, 3, dataset=records("b", "c"))
    return path


def tamper(path: Path, *statements: str, parameters: tuple[object, ...] = ()) -> None:
    """Changes the file as one could who has the right to write it, past the triggers."""
    connection = sqlite3.connect(path)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement, parameters)
    connection.commit()
    connection.close()


def bodies(path: Path) -> list[dict[str, object]]:
    """The fields of all entries."""
    connection = sqlite3.connect(path)
    found = [json.loads(body) for (body,) in connection.execute("SELECT body FROM entries ORDER BY number")]
    connection.close()
    return found


def copy_ledger(source: Path, target: Path) -> Path:
    """A copy of the ledger that nobody has open, and of its head."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".sqlite", ".head"):
        shutil.copy(source.with_suffix(suffix), target.with_suffix(suffix))
    return target


def states(ledger: Ledger) -> list[str]:
    def state(row: ChargeRow) -> str:
        return "open" if row.is_open else "released" if row.released else "settled"

    return [state(row) for row in ledger.charges()]
