"""What only processes can show of the ledger: racing writers, and death at any instant."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealora_client.ledger import Ledger, journal
from sealora_client.ledger.head import read_head

from ledger_children import Children
from ledger_runs import ROUND, SITE, charge, records

_LINES = 8  # most that a child writes before it may be killed


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as started:
        yield started


def granted(out: Path) -> list[tuple[str, str, int, int]]:
    """What a child was told: (charged or released, run, round, entry)."""
    if not out.exists():
        return []
    said = (line.split() for line in out.read_text().splitlines())
    return [(word, run, int(number), int(entry)) for word, run, number, entry in said]


def seconds_for_a_line(children: Children, directory: Path) -> float:
    """How long a child takes to be granted one thing: machines and disks differ."""
    started = time.monotonic()
    children.run(
        task="train",
        ledger=directory / "measured.sqlite",
        out=directory / "measured.out",
        run="measured",
        lines=_LINES,
        delay=0.0,
    )
    return (time.monotonic() - started) / _LINES


def kill_often(children: Children, directory: Path, kills: int) -> None:
    """Kills a charging process again and again; after each death the ledger holds all that it had granted."""
    generator = random.Random(5)
    longest = 2 * seconds_for_a_line(children, directory)
    checked = 0
    for kill in range(kills):
        # A new ledger now and then, so that its making is interrupted as well.
        path = directory / f"{kill // 20}" / "ledger.sqlite"
        out, name = directory / f"{kill}.out", f"run-{kill}"
        # Somewhere within a grant, whichever it is, or while the ledger is made or opened; a delay from the start
        # alone would, on a machine that opens slowly and writes fast, always kill before the first one.
        lines, delay = generator.randrange(_LINES), generator.uniform(0, longest)
        children.run(task="train", ledger=path, out=out, run=name, lines=lines, delay=delay)
        with Ledger(path, SITE) as ledger:
            ledger.verify()
            rows = {row.id: row for row in ledger.charges()}
        heard = granted(out)
        for word, run, number, entry in heard:
            row = rows[entry]
            assert (row.run, row.round_number, row.event) == (run, number, ROUND)
            if word == "released":
                assert row.released is not None
        # One charge may be there that the child had not heard of when it died; no more.
        charged = sum(word == "charged" for word, *_ in heard)
        assert charged <= sum(row.run == name for row in rows.values()) <= charged + 1
        checked += len(heard)
    assert checked > kills


def test_a_process_killed_at_any_instant_never_under_counts(children: Children, tmp_path: Path) -> None:
    kill_often(children, tmp_path, 12)


@pytest.mark.slow
def test_a_process_killed_at_any_of_two_hundred_instants_never_under_counts(children: Children, tmp_path: Path) -> None:
    kill_often(children, tmp_path, 200)


@pytest.mark.parametrize("attempt", range(5))
def test_of_processes_racing_for_the_last_budget_exactly_one_wins(
    children: Children, tmp_path: Path, attempt: int
) -> None:
    """Their data sets differ and overlap; the ledger does not exist yet, so making it is raced for as well."""
    path = tmp_path / "ledger.sqlite"
    outs = [tmp_path / name for name in ("one", "two")]
    children.run(task="race", ledger=path, outs=outs, limit=ROUND.steps)
    assert sum(len(granted(out)) for out in outs) == 1
    with Ledger(path, SITE) as ledger:
        assert sum(row.released is not None for row in ledger.charges()) == 1
        ledger.verify()


def test_racing_processes_never_overspend_together(children: Children, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    outs = [tmp_path / name for name in ("one", "two", "three", "four")]
    children.run(task="race", ledger=path, outs=outs, limit=7 * ROUND.steps)
    made = [entry for out in outs for _, _, _, entry in granted(out)]
    with Ledger(path, SITE) as ledger:
        assert sorted(made) == [row.id for row in ledger.charges() if row.released is not None]
        assert len(made) == 7 == len(ledger.charges(records("shared")))
        ledger.verify()


def test_a_ledger_made_by_another_process_while_it_is_opened_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process makes it, and charges, between this one's look for a head and its look at the entries."""
    path = tmp_path / "ledger.sqlite"

    def none_yet(ledger: Path) -> None:
        monkeypatch.undo()
        assert read_head(ledger) is None
        with Ledger(ledger, SITE) as other:
            charge(other, 1)

    monkeypatch.setattr(journal, "read_head", none_yet)
    with Ledger(path, SITE) as ledger:
        assert len(ledger.charges()) == 1
        ledger.verify()
