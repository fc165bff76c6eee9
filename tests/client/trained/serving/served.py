"""`sealora-site serve` as a process of its own, and who asks it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import httpx

PROGRAM = "import sys; sys.argv[0] = 'sealora-site'; from sealora_client.cli import main; main()"
NOWHERE = "http://127.0.0.1:9"
SYSTEM = "You code diagnoses."
EVERYWHERE = "0.0.0.0"  # noqa: S104 (for a moment, and behind a token)


class Served:
    """Runs while it is entered.

    Attributes:
        url: ends in /v1.
        model: the name that it says.
        said: what it wrote to both outputs before it could be asked, and once it has ended all of it.
    """

    def __init__(self, run: Path, *words: str) -> None:
        self._words = [sys.executable, "-c", PROGRAM, "serve", str(run), "--port", "0", *words]
        self.url = self.model = self.said = ""

    def __enter__(self) -> Served:
        environment = {**os.environ, "https_proxy": NOWHERE, "http_proxy": NOWHERE, "no_proxy": "127.0.0.1"}
        environment.pop("HF_HUB_OFFLINE", None)  # it is for the command to see to
        self.process = subprocess.Popen(
            self._words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if found := re.match(r"model (\S+) at (\S+), until", line):
                self.model, self.url = found.groups()
                return self
        raise AssertionError(self.said)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)

    def stop(self, number: int) -> int:
        """Sends the signal, waits for the end, and returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        more, _ = self.process.communicate(timeout=60)
        self.said += more or ""
        return self.process.returncode

    def post(self, path: str, *, headers: dict[str, str] | None = None, **fields: object) -> httpx.Response:
        """One request with these fields, and this model unless they name one."""
        body = json.dumps({"model": self.model, **fields})  # in ASCII, with whatever no text may hold
        sent = {"Content-Type": "application/json", **(headers or {})}
        return httpx.post(f"{self.url}{path}", content=body, headers=sent, timeout=60)

    def chat(
        self, *messages: tuple[str, str], headers: dict[str, str] | None = None, **fields: object
    ) -> httpx.Response:
        """One conversation of (role, text)."""
        told = [{"role": role, "content": text} for role, text in messages]
        return self.post("/chat/completions", headers=headers, messages=told, **fields)
