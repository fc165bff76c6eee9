"""A site with a ledger, a message log and a check, and its page in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from shown_site import ShownSite, shown

from sealora_client.operator.sent_log import SentLog, SentMessage

from budget_site import spend, write_site

RUN = "ab" * 16


def write_shown_site(directory: Path) -> Path:
    """A site that was charged for three rounds, and wrote down what it sent in them."""
    site = write_site(directory)
    spend(site, 3)
    log = SentLog(site)
    for number in (1, 2, 3):
        for kind, size in (("train", 900), ("share", 4000), ("mask", 120_000)):
            log.note(SentMessage(at=f"2026-01-0{number}T08:00:00+00:00", kind=kind, run=RUN, round=number, bytes=size))
    log.note(SentMessage(at="2026-01-04T08:00:00+00:00", kind="train", run=RUN, round=4, bytes=80, refused=True))
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[ShownSite]:
    """Shown while the tests of a module look."""
    with shown(write_shown_site(tmp_path_factory.mktemp("shown") / "site")) as found:
        yield found
