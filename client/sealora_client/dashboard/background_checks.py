"""Runs `sealora-site check --quick` or `data check` beside the page, in a process of its own; each keeps its result."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final, Literal

from sealora_client.operator.kept_checks import CHECKS, DATA_CHECK, SITE_CHECK
from sealora_common.show.safe_text import safe_text

CheckKind = Literal["site", "data"]
_LONGEST_SECONDS: Final = 3600.0
_SAID: Final = 2000


class BackgroundChecks:
    """One check at a time of the site in `directory`.

    Attributes:
        at_work: which one runs; None: none.
        problem: why the last one came to nothing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.at_work: CheckKind | None = None
        self.problem: str | None = None

    def begin(self, kind: CheckKind) -> bool:
        """Begins one; whether it did, as another one may be at work."""
        with self._lock:
            if self.at_work is not None:
                self.problem = "A check is at work: ask again when it has ended."
                return False
            self.at_work, self.problem = kind, None
        threading.Thread(target=self._work, args=(kind,), name="check", daemon=True).start()
        return True

    def close(self) -> None:
        """Ends one that is at work."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()

    def _work(self, kind: CheckKind) -> None:
        problem = None
        try:
            problem = self._ran(kind)
        finally:
            with self._lock:  # or whoever asks for another at this moment would be refused, and told so for ever
                self._process, self.problem, self.at_work = None, problem, None

    def _ran(self, kind: CheckKind) -> str | None:
        words = {
            "site": ["check", "--quick", "--json", "--config", str(self._directory / "site.yaml")],
            "data": ["data", "check", "--json", "--directory", str(self._directory)],
        }[kind]
        program = "from sealora_client.cli import main; main()"
        kept = self._directory / CHECKS / (SITE_CHECK if kind == "site" else DATA_CHECK)
        before = _stamp(kept)
        try:
            self._process = subprocess.Popen(  # noqa: S603 (this Python, and a command of ours)
                [sys.executable, "-c", program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "NO_COLOR": "1"},
            )
            _, errors = self._process.communicate(timeout=_LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()
            return "The check was given up after an hour: run it in a terminal."
        except OSError as error:
            return f"The check could not be started ({error.strerror}): run it in a terminal."
        if self._process.returncode in (0, 1) and b"Error: " not in errors:
            return None if _stamp(kept) != before else f"{kept}: what was found could not be kept: is the disk full?"
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        return safe_text(f"The check ended without a result: {last[0].removeprefix('Error: ')}", _SAID)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
