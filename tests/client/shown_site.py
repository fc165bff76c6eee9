"""`sealora-site dashboard` as a process, on a site's directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

from browser import Visitor

PROGRAM = "from sealora_client.cli import main; main()"


@dataclass
class ShownSite:
    """One that is shown.

    Attributes:
        directory: the site's.
        url: where.
    """

    directory: Path
    url: str

    @property
    def token(self) -> str:
        return (self.directory / "dashboard.token").read_text().strip()

    def open(self, visitor: Visitor, path: str = "/", *, width: int = 1280, dark: bool = False) -> Page:
        """The page, of somebody who has logged in."""
        page = visitor.open(f"{self.url}/login", width=width, dark=dark)
        page.fill("#token", self.token)
        page.click("button[type=submit]")
        page.wait_for_selector("#now-state")
        if path != "/":
            page.goto(self.url + path)
        return page


@contextmanager
def shown(directory: Path) -> Iterator[ShownSite]:
    """Shows the site while it is entered."""
    words = [sys.executable, "-c", PROGRAM, "dashboard", str(directory), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://\S+:\d+", said)
        assert found is not None, said + process.stdout.read()
        yield ShownSite(directory, found.group())
    finally:
        process.terminate()
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)
