"""A real `sealora server run` with its dashboard: a second person's approval, from the command line on."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
import yaml
from acting import Hand
from fleet_sites import FleetFederation
from running_server import SEALORA, make_server, run_status, running, said, until

from sealora_common.web.sessions import Role
from sealora_common.web.token_file import token_of
from sealora_server.dashboard.login.persons import PersonTokens

from run_host import RECIPE

SECONDS = 120.0


def types(server, *words):
    """A command of the server's operator: its exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", SEALORA, "server", *map(str, words), "--config", str(server.config_file)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def hand(server, name, start=1):
    """Somebody at the dashboard of the server, which was started so many times."""
    told = until(lambda: re.findall(r"the dashboard is at (http://\S+);", server.log.read_text())[start - 1 :], SECONDS)
    url = told[0]
    found = Hand(base_url=url, headers={"Origin": url}, timeout=60, follow_redirects=True)
    token = token_of(PersonTokens(server.path / "people").add(Role.OPERATOR, name))
    assert found.post("/login", data={"token": token}).status_code == 200
    return found


@pytest.mark.slow
def test_what_an_account_submits_runs_once_a_person_has_approved_it(tmp_path):
    server, identity = make_server(
        tmp_path / "server", dashboard={"listen": "127.0.0.1:0"}, approval={"required": True}
    )
    recipe, roster = tmp_path / "recipe.yaml", tmp_path / "roster.json"
    recipe.write_text(yaml.safe_dump(RECIPE.model_dump(mode="json")))
    FleetFederation(RECIPE, 3, identity.public_key).roster.save(roster)
    with running(server) as process:
        status, told = types(server, "submit", recipe, "--roster", roster, "--name", "r1")
        assert (status, "run r1: submitted" in told) == (0, True), told
        assert "another person must approve it" in told
        digest = run_status(server, "r1").approval.digest
        for words, refused in (
            (("approve", "r1", "--digest", digest), "may not approve runs: `approval` in server.yaml says who may"),
            (("refuse", "r1"), "may not approve runs"),
            (("resume", "r1"), "waits for approval"),
            (("approve", "r1"), "give its digest with --digest"),
        ):
            status, told = types(server, *words)
            assert (status, refused in told.replace("\n", " ")) == (1, True), told
        assert run_status(server, "r1").condition == "unapproved"
        assert "run r1: its" not in said(server)
        anna = hand(server, "anna")
        assert "run r1: approved" in anna.sends("/runs/r1/approve", digest=digest).text
        until(lambda: run_status(server, "r1").condition == "running", SECONDS, lambda: said(server))
        log = server.log.read_text()
        assert re.search(r"operator \w+ \(process \d+, over .*\): submit run r1: done", log)
        shown = rf"operator anna \(at the dashboard, process \d+, over .*\): approve run r1 as {digest[:12]}: done"
        assert re.search(shown, log)
        process.send_signal(signal.SIGKILL)
        process.wait(SECONDS)
    with running(server):
        told = run_status(server, "r1")
        assert (told.condition, told.approval.approved_by) == ("running", "anna")
        assert "run r1: stopped" in hand(server, "bert", 2).sends("/runs/r1/stop").text
    path = server.runs / "r1" / "recipe.yaml"
    path.write_text(path.read_text() + "# swapped\n")
    with running(server):
        bert = hand(server, "bert", 3)
        bert.sends("/runs/r1/resume")
        told = run_status(server, "r1")
        assert (told.condition, told.approval.asked_by, told.approval.approved_by) == ("unapproved", "bert", None)
    assert "Traceback" not in server.log.read_text()
