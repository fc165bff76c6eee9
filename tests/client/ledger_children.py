"""Charges the ledger in processes that are killed, or that race.

Run as a program it loads the libraries once, then forks a child for every task it is given as a line of JSON on
standard input, and answers with a line when they are gone. What a forked child does is what a started one does.

    {"task": "train", "ledger": path, "out": path, "run": name, "lines": n, "delay": seconds}
        one child, killed the delay after it wrote n lines
    {"task": "race", "ledger": path, "outs": [path, ...], "limit": steps}   a child for each; all start together

A child writes to its file what it was granted: `charged <run> <round> <entry>` once it may train, and
`released <run> <round> <entry>` once it may send. `os.write` to a file is whole, and others see it whatever becomes of
the writer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


class Children:
    """The process that forks; use it as a context."""

    def __enter__(self) -> Children:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def run(self, **task: Any) -> None:
        """Does one task; returns when its children are gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(task, default=str), file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"


def _serve() -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from sealora_client.ledger import ledger as charging
    from sealora_client.ledger import overspend

    import ledger_runs

    # Children are spared the import of SciPy by an accountant of the same shape. Which bound is computed
    # does not matter to what is tested with them.
    for module in (charging, overspend):
        module.epsilon_pld = lambda mechanisms, delta: float(sum(m.steps for m in mechanisms))  # type: ignore[assignment]

    def train(task: dict[str, Any], out: int) -> None:
        with charging.Ledger(Path(task["ledger"]), ledger_runs.SITE) as ledger:
            for number in range(1, 1_000_000):
                paid = ledger_runs.charge(ledger, number, run=task["run"], limit=1e12)
                os.write(out, f"charged {task['run']} {number} {paid.id}\n".encode())
                ledger.mark_released(paid.id)
                os.write(out, f"released {task['run']} {number} {paid.id}\n".encode())

    def race(task: dict[str, Any], member: str, gate: int, out: int) -> None:
        # Each child's data set has a record of its own besides the shared one.
        dataset = ledger_runs.records("shared", member)
        os.read(gate, 1)
        with charging.Ledger(Path(task["ledger"]), ledger_runs.SITE) as ledger:
            for number in range(3):
                try:
                    paid = ledger_runs.charge(ledger, number, dataset=dataset, run="race", limit=task["limit"])
                    ledger.mark_released(paid.id)  # or another process's charge has taken its place
                except charging.BudgetError:
                    continue
                os.write(out, f"charged race {number} {paid.id}\n".encode())

    for line in sys.stdin:
        task = json.loads(line)
        if task["task"] == "train":
            child = _fork(partial(train, task), task["out"])
            _wait_for_lines(Path(task["out"]), task["lines"])
            time.sleep(task["delay"])
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        else:
            gate, start = os.pipe()
            children = [_fork(partial(race, task, name, gate), name, closing=start) for name in task["outs"]]
            os.close(gate)
            os.close(start)  # all see the end of the pipe at once
            for child in children:
                _, status = os.waitpid(child, 0)
                if status:
                    raise RuntimeError(f"a racing child ended with {status=}")
        print("done", flush=True)


def _wait_for_lines(out: Path, lines: int) -> None:
    deadline = time.monotonic() + 60
    while lines and (not out.exists() or out.read_bytes().count(b"\n") < lines):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{lines=} were not written within a minute")
        time.sleep(0.0005)


def _fork(work: Callable[[int], None], out: str, closing: int | None = None) -> int:
    """Starts a child that does `work`, with the descriptor of its file `out`; returns its process id."""
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        if closing is not None:
            os.close(closing)
        work(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve()
