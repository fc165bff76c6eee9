"""A site whose people have it leave, in a run of real processes: after its round, at once, and back when it is told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from deployed import SECONDS, Deployed
from running_server import said, until

from sealora_client.operator.at_work import told_work
from sealora_client.operator.departure import depart
from sealora_client.operator.sent_log import SentLog
from sealora_common.records.events import RoundFinished
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import SiteRoundsTail

pytestmark = pytest.mark.slow

PROGRAM = "from sealora_client.cli import main; main()"


def typed(*words: object) -> str:
    """What `sealora-site` prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def at_work(site, run_id):
    """Where the site is in this run, once it is."""

    def there():
        found = told_work(site.directory)
        return found if found is not None and found.run == run_id else None

    return until(there, SECONDS, site.said)


def ended(site) -> int:
    """The exit code of the site's process, once it has one."""
    assert site.process is not None
    return site.process.wait(timeout=SECONDS)


def rounds_of(site, run_id) -> list[int]:
    return [line.round for line in SiteRoundsTail(site.directory / HISTORY).read() if line.run == run_id]


def test_a_site_leaves_as_its_people_say_and_comes_back_when_they_say(tmp_path, tiny_base):
    # Of four sites, three must answer; they are waited for as long as a busy machine takes to start them.
    patient = {"stage_timeout": SECONDS, "training_timeout": SECONDS}
    sections = {"count": 4, "sealing": {"adversary": "curious"}, "sites": patient}
    with Deployed(tmp_path, tiny_base(), **sections) as federation:
        leaving, stopping = federation.sites["site-0"], federation.sites["site-1"]
        first = federation.submit("first")
        until(first.directory.exists, SECONDS, lambda: said(federation.server))
        run_id = until(lambda: first.run_id, SECONDS)
        at_work(leaving, run_id)
        typed("leave", leaving.directory, "--yes")
        last = told_work(leaving.directory).round
        assert ended(leaving) == 0
        assert rounds_of(leaving, run_id) == list(range(1, last + 1)), leaving.said()
        assert all(row.round_number <= last for row in leaving.charges(run_id))
        sent = SentLog(leaving.directory).read().messages
        assert {message.round for message in sent if message.kind == "mask"} == set(range(1, last + 1))
        assert all(message.refused for message in sent if message.kind == "train" and (message.round or 0) > last)
        first.until_over()
        for finished in first.events(RoundFinished):
            assert ("site-0" in finished.survivors) == (finished.round <= last)

        leaving.start()
        until(lambda: "had this site leave" in leaving.said(), SECONDS, leaving.said)
        assert leaving.said().count("is ready, with recipe") == 1  # of its first start: it loads nothing while it waits
        assert "takes part again" in typed("return", leaving.directory)
        until(lambda: leaving.said().count("connected to") == 2, SECONDS, leaving.said)

        second = federation.submit("second")
        until(second.directory.exists, SECONDS, lambda: said(federation.server))
        run_id = until(lambda: second.run_id, SECONDS)
        at_work(stopping, run_id)
        depart(stopping.directory, "now")  # what `leave --now` does, as soon as it has started
        assert ended(stopping) == 0, stopping.said()
        released = {row.round_number for row in stopping.charges(run_id) if row.released is not None}
        left = [message for message in SentLog(stopping.directory).read().messages if message.run == run_id]
        assert {message.round for message in left if message.kind == "mask" and not message.refused} <= released
        assert "Traceback" not in stopping.said() + leaving.said()
        second.until_over()
        masked = {message.round for message in left if message.kind == "mask"}
        assert {each.round for each in second.events(RoundFinished) if "site-1" in each.survivors} <= masked
