"""A page of HTML as PDF, by the browser that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from sealora_common.config import LARGE, read_file
from sealora_common.errors import SealoraError, UnreadableError
from sealora_common.storage.durable import write_atomically

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""Commands that print, the first one that is there."""

_OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--no-pdf-header-footer",
    # A page needs nothing but itself, and the browser has nothing to look for either.
    "--proxy-server=127.0.0.1:9",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-background-networking",
    "--no-first-run",
)
_LONGEST = 120.0
"""Seconds."""


def find_browser() -> Path:
    """The browser that prints.

    Raises:
        SealoraError: there is none.
    """
    for name in BROWSERS:
        if found := shutil.which(name):
            return Path(found)
    raise SealoraError(f"a PDF needs a browser, and none of {', '.join(BROWSERS)} is here: apt-get install chromium")


def pdf_of(page: str) -> bytes:
    """`page`, which needs nothing but itself, as a PDF with the page's own print style.

    Raises:
        SealoraError: there is no browser, or it printed nothing.
    """
    browser = find_browser()
    # Its sandbox does not work for root, whose page is our own and brings no script.
    options = (*_OPTIONS, "--no-sandbox") if os.geteuid() == 0 else _OPTIONS
    with TemporaryDirectory(prefix="sealora-pdf-") as name:
        source, printed = Path(name) / "page.html", Path(name) / "page.pdf"
        write_atomically(source, page.encode())
        command = [str(browser), *options, f"--user-data-dir={name}/profile", f"--print-to-pdf={printed}"]
        try:
            subprocess.run(  # noqa: S603 - the browser that is installed, and a page of ours
                [*command, source.as_uri()], capture_output=True, timeout=_LONGEST, check=True
            )
            return read_file(printed, LARGE.longest)
        except (OSError, UnreadableError, subprocess.SubprocessError) as error:
            raise SealoraError(f"{browser} printed no PDF ({type(error).__name__}): leave --pdf out") from None
