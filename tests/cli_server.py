"""Runs commands of `sealora` or `sealora-site`, each in a process of its own, without loading torch for each anew.

Run as a program it loads the libraries once and then, for every JSON line {"argv", "cwd", "env", "out"} on
standard input, forks a process that calls its program's `main` with its output in the files out.stdout and
out.stderr; it answers with the number of that process, and with its exit status when it has ended. What a forked
process does is what a started one does. With "out" null it runs the command itself, so that what the process remembers
of it (how much noise an epsilon takes) is there in the forked ones.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

_LIBRARIES = {
    "sealora": (
        "sealora_server.cli",
        "sealora_server.simulation.simulate",
        "sealora_client.app",
        "sealora_client.simulated",
        "sealora_server.comparison.comparing",
        "opacus.accountants",
        "transformers.models.llama",
    ),
    "sealora-site": ("sealora_client.cli", "sealora_client.app", "transformers.models.llama"),
}
"""Of each program; the first one has its `main`."""


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    status: int
    stdout: str
    stderr: str


class CliServer:
    """The process that forks; use it as a context."""

    def __init__(self, program: str = "sealora") -> None:
        self._program = program

    def __enter__(self) -> CliServer:
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=120)

    def warm(self, *arguments: str | Path, cwd: Path) -> None:
        """Runs a command for what is remembered of it; it must succeed, and what it says is lost."""
        self._ask(arguments, cwd, {}, None)
        assert self._answer() == 0

    def run(self, *arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> Done:
        """Runs the program with `arguments` in the directory `cwd`."""
        out = cwd / ".sealora-output"
        self._ask(arguments, cwd, env or {}, out)
        return self._done(out)

    def interrupted(self, *arguments: str | Path, cwd: Path, when: Callable[[], bool]) -> Done:
        """Runs a command and presses Ctrl-C as soon as `when()` says so; fails if it has ended before."""
        out = cwd / ".sealora-output"
        process = self._ask(arguments, cwd, {}, out)
        while not when():
            assert psutil.pid_exists(process), self._done(out)
            time.sleep(0.02)
        os.kill(process, signal.SIGINT)
        return self._done(out)

    def _done(self, out: Path) -> Done:
        status = self._answer()
        stdout, stderr = out.with_suffix(".stdout"), out.with_suffix(".stderr")
        return Done(status, stdout.read_text(encoding="utf-8"), stderr.read_text(encoding="utf-8"))

    def _ask(self, arguments: Iterable[str | Path], cwd: Path, env: dict[str, str], out: Path | None) -> int:
        assert self._process.stdin is not None
        request = {"argv": list(map(str, arguments)), "cwd": str(cwd), "env": env, "out": out and str(out)}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def _serve(program: str) -> None:
    commands, *_ = [importlib.import_module(name) for name in _LIBRARIES[program]]
    for line in sys.stdin:
        request = json.loads(line)
        if request["out"] is None:
            print(os.getpid(), _remembered(commands, request), sep="\n", flush=True)
            continue
        child = os.fork()
        if child == 0:
            _become(program, commands.main, request)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)  # nothing is left to tidy up, and libraries take their time over it


def _remembered(commands: ModuleType, request: dict[str, Any]) -> int:
    from typer.testing import CliRunner

    before = Path.cwd()
    os.chdir(request["cwd"])
    try:
        return CliRunner().invoke(commands.cli, request["argv"]).exit_code
    finally:
        os.chdir(before)


def _become(program: str, main: Callable[[], None], request: dict[str, object]) -> None:
    out = Path(str(request["out"]))
    for descriptor, suffix in ((1, ".stdout"), (2, ".stderr")):
        file = os.open(out.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
    os.chdir(str(request["cwd"]))
    os.environ.update(request["env"])  # type: ignore[arg-type]
    sys.argv = [program, *request["argv"]]  # type: ignore[misc]
    status = 99
    try:
        main()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
