"""A real server's log after a run: who asked what of it, who came and went, and the run's own story."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys

import pytest
from run_bench import RunBench
from running_server import SEALORA, make_server, running, until

STAMP = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d (INFO|WARNING) +"


def story_of(bench: RunBench, *more: str) -> str:
    """What `sealora server logs r1` shows."""
    command = [sys.executable, "-c", SEALORA, "server", "logs", "r1", "--config", str(bench.server.config_file), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
def test_a_run_whose_process_is_killed_once_is_told_from_submission_to_result(tmp_path):
    server, identity = make_server(tmp_path / "server")
    with running(server) as process:
        bench = RunBench(server, identity, process)
        bench.submit()
        assert "submitted by" in story_of(bench)  # while it runs, without a site
        until(lambda: bench.events("run_started"), 60)
        os.kill(bench.pid("serverapp"), signal.SIGKILL)
        with bench.federation.connected(bench.address, server.ca):
            assert bench.until_over().condition == "finished"
            told = story_of(bench, "--follow").splitlines()
        log = until(lambda: found if "goodbye" in (found := server.log.read_text()) else "", 30)
    me = re.escape(pwd.getpwuid(os.getuid()).pw_name)
    for line in (
        rf"operator {me} \(process \d+, over .*/sockets/operator.sock\): submit run r1: done",
        r"site site-0 was registered and may connect",
        r"site site-0 has connected",
        rf"run r1: submitted by {me}",
        r"run r1: its process ended with status -9; it goes on in a new one",
        r"run r1: taking part \(3 sites, \d needed\): site-0, site-1, site-2",
        r"run r1: round 1/2: training at 3 sites \.\.\.",
        r"run r1: round 2/2: trained: (\S+ in [^,]+ s(, )?){3}",
        r"run r1: round 2/2: sealed sum of 3 sites opened, .*; in it: site-0, site-1, site-2",
        r"run r1: finished in ",
        r"site site-0 has said goodbye",
    ):
        assert len(re.findall(STAMP + line, log, re.MULTILINE)) == 1, (line, log)
    assert len(told) > 10
    for line in told:  # the same, in the same words
        assert f"run r1: {line.split(maxsplit=3)[3]}\n" in log
