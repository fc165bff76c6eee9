"""What only processes can show of the ledger: racing writers, and death at any instant."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from sealora_client.ledger import Ledger
from sealora_common.privacy.accounting import Mechanism, epsilon_rdp

DELTA = 1e-5
ROUND = Mechanism(1.0, 0.05, 10)

# Children are spared the import of Opacus (seconds each) by an accountant of the same shape. Which bound is
# computed does not matter to what is tested here.
_PREPARE = """
import sys
from pathlib import Path
from sealora_client import ledger as module
from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import Mechanism
module.epsilon_rdp = lambda mechanisms, delta: float(sum(m.steps for m in mechanisms))
path, name = Path(sys.argv[1]), sys.argv[2]
mechanism = Mechanism(1.0, 0.05, 10)
def say(*words):
    print(*words, flush=True)
def charge(ledger, number, limit):
    return ledger.charge(
        dataset="d", run=name, round_number=number, mechanism=mechanism, delta=1e-5, epsilon_limit=limit
    )
"""

_RACER = (
    _PREPARE
    + """
say("ready"); sys.stdin.readline()
with module.Ledger(path) as ledger:
    made = 0
    for number in range(30):
        try:
            charge(ledger, number, 200.0)
            made += 1
        except BudgetError:
            pass
say(made)
"""
)

_TRAINER = (
    _PREPARE
    + """
say("ready"); sys.stdin.readline()
with module.Ledger(path) as ledger:
    for number in range(1_000_000):
        paid = charge(ledger, number, float("inf"))
        say("training", number, paid.id)
        ledger.mark_released(paid.id)
        say("sent", number, paid.id)
"""
)


def start(program: str, path: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def release(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def wait_until_ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"


def test_racing_processes_never_overspend_together(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"  # does not exist yet: making it is raced for as well
    children = [start(_RACER, path, f"run-{number}") for number in range(4)]
    for child in children:
        wait_until_ready(child)
    for child in children:
        release(child)
    made = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(made) == 20  # 20 rounds of 10 steps under a limit of 200
    with Ledger(path) as ledger:
        assert len(ledger.history("d")) == 20
        assert ledger.spent("d", DELTA) == epsilon_rdp([ROUND] * 20, DELTA)


def test_a_process_killed_at_any_instant_never_under_counts(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    generator = random.Random(5)
    deadline = time.monotonic() + 25
    kills = checked = 0
    next_child = start(_TRAINER, path, "run-0")
    while kills < 30 and time.monotonic() < deadline:
        child, name = next_child, f"run-{kills}"
        wait_until_ready(child)
        next_child = start(_TRAINER, path, f"run-{kills + 1}")  # imports while this one is under test
        release(child)
        time.sleep(generator.uniform(0, 0.08))
        os.kill(child.pid, signal.SIGKILL)
        said = child.communicate(timeout=10)[0]
        kills += 1

        with Ledger(path) as ledger:
            rows = {row.id: row for row in ledger.history("d") if row.run == name}
        # A torn last line was never finished saying.
        for line in said.splitlines() if said.endswith("\n") else said.splitlines()[:-1]:
            word, number, charge_id = line.split()
            row = rows[int(charge_id)]
            assert row.round_number == int(number)
            assert row.mechanism == ROUND
            checked += 1
            if word == "sent":
                assert row.released is not None
    next_child.kill()
    next_child.communicate(timeout=10)
    assert kills >= 10  # a slow machine shows fewer, but must show some
    assert checked > kills
