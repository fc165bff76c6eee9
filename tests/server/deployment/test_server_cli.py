"""`sealora server ...` where no server runs, and what it shows where one does."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import threading
import time

import pytest
import yaml
from fleet_sites import FleetFederation
from typer.testing import CliRunner

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import PolicyError, RecipeError, SealoraError
from sealora_common.identity import Identity
from sealora_common.records.event_log import EventLog
from sealora_common.records.events import SitesReady, TooFewSites, TurnedAway
from sealora_common.show.console import SafeConsole
from sealora_common.show.say import say
from sealora_server.cli import cli, main
from sealora_server.cli import server as server_cli
from sealora_server.cli.server_status import show_status
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.log_file import log_lines
from sealora_server.deployment.operator import admission
from sealora_server.deployment.operator.messages import (
    ProcessStatus,
    Register,
    RunStatus,
    SiteStatus,
    Status,
    Submit,
)

from pure_sites import pure_recipe
from run_fixture import write_run

KEY = "ABCDE-FGHIJ-KLMNO-PQRST"
RECIPE = pure_recipe(model={"base": "none", "digest": "0" * 64})
STATUS = Status(
    up=True,
    address="127.0.0.1:9443",
    hosts=("localhost",),
    server_key=KEY,
    health="127.0.0.1:9180",
    certificate_expires="2030-01-01T00:00:00+00:00",
    tls="TLSv1.3, key exchange of the test",
    warnings=("tls/server.pem expires in 3 days",),
    processes=(
        ProcessStatus(name="superlink", pid=5, restarts=1, seconds=61.0),
        ProcessStatus(name="front", pid=None, restarts=0, seconds=0.0),
    ),
    sites=(SiteStatus(name="berlin", online=True), SiteStatus(name="lyon", online=False)),
    runs=(
        RunStatus(
            name="r1",
            condition="running",
            said="round 2 of 3, stage mask: 1 of 3 sites have answered",
            finished_rounds=1,
            rounds=3,
            waiting_for=("lyon", "porto"),
            turned_away=(TurnedAway(site="rome", node=9, reason="no budget\x1b[2J"),),
        ),
    ),
)


def types(*words: object) -> str:
    result = CliRunner().invoke(cli, ["server", *map(str, words)], env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def files(tmp_path):
    """A recipe and a roster, as the operator has them."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE.model_dump(mode="json")))
    server = Identity.create("server", SystemEntropy())
    FleetFederation(RECIPE, 3, server.public_key).roster.save(tmp_path / "roster.json")
    (tmp_path / "server.yaml").write_text("hosts: [localhost]")
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """What the server is asked; it answers with STATUS."""
    requests = []

    def ask(config, request):
        requests.append(request)
        return STATUS

    monkeypatch.setattr(server_cli, "_ask", ask)
    return requests


def commands(directory):
    config = ["--config", directory / "server.yaml"]
    recipe, roster = directory / "recipe.yaml", directory / "roster.json"
    return {
        "submit": ["submit", recipe, "--roster", roster, *config],
        "status": ["status", *config],
        "stop": ["stop", "r1", *config],
        "resume": ["resume", "r1", *config],
        "use-roster": ["use-roster", "r1", roster, *config],
        "register": ["register", "--roster", roster, *config],
        "unregister": ["unregister", "berlin", *config],
    }


COMMANDS = ["submit", "status", "stop", "resume", "use-roster", "register", "unregister"]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_server_every_command_says_how_to_start_one(files, command):
    with pytest.raises(DeploymentError) as caught:
        types(*commands(files)[command])
    said = f"{files}/sockets/operator.sock: no server runs there: start it with `sealora server run`"
    assert str(caught.value).startswith(said)


def test_an_error_is_one_line_on_stderr_and_exit_code_1(files, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sealora", "server", "status", "--config", str(files / "server.yaml")])
    with pytest.raises(SystemExit) as left:
        main()
    captured = capsys.readouterr()
    assert left.value.code == 1
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1


def test_a_submission_carries_the_recipe_with_its_overrides_and_the_roster(files, asked):
    said = types(*commands(files)["submit"], "rounds=9", "--name", "mine", "--no-wait")
    [request] = asked
    assert isinstance(request, Submit)
    assert (request.name, yaml.safe_load(request.recipe)["rounds"]) == ("mine", 9)
    assert json.loads(request.roster) == json.loads((files / "roster.json").read_text())
    recipe = pure_recipe(rounds=9, model={"base": "none", "digest": "0" * 64})
    assert f"run mine: submitted. Its recipe hash, which every site must have: {recipe.hash}" in said


def test_a_run_is_called_like_its_recipe_unless_it_is_named(files, asked):
    types(*commands(files)["submit"], "--no-wait")
    assert asked[0].name == "pure"
    assert len(asked) == 1  # nothing is waited for


AWAY = TurnedAway(site="lyon", node=7, reason="the site's privacy budget does not allow this whole run")


def submits(files, monkeypatch, condition="running", said="", *, events=()):
    """`submit` without options, where the server then says that the run is in `condition`."""
    run = RunStatus(name="pure", condition=condition, said=said, finished_rounds=0, rounds=3)

    def ask(config, request):
        if isinstance(request, Submit):
            log = EventLog(files / "runs" / "pure" / "events.jsonl")
            log.path.parent.mkdir(parents=True)
            for event in events:
                log.write(event)
        return STATUS.model_copy(update={"runs": (run,)})

    monkeypatch.setattr(server_cli, "_ask", ask)
    monkeypatch.setattr(admission, "_POLL_SECONDS", 0.01)
    return types(*commands(files)["submit"])


def test_a_submission_shows_who_takes_part_and_why_others_do_not(files, monkeypatch):
    ready = SitesReady(sites=("berlin", "oslo", "porto"), needed=3, turned_away=(AWAY,), missing=("rome",))
    said = submits(files, monkeypatch, events=[ready]).splitlines()
    assert said[-3:] == [
        "run pure: taking part (3 sites, 3 needed): berlin, oslo, porto",
        f"run pure: lyon takes no part: {AWAY.reason}",
        "run pure: not connected: rome",
    ]


def test_a_submission_whose_run_fails_for_want_of_sites_is_an_error_with_their_reasons(files, monkeypatch):
    told = TooFewSites(sites=("berlin",), needed=3, turned_away=(AWAY,), missing=("rome",))
    why = f"1 of at least 3 sites are ready after 0 s (missing: lyon, rome; lyon: {AWAY.reason}): mend that"
    with pytest.raises(DeploymentError) as caught:
        submits(files, monkeypatch, "failed", why, events=[told])
    assert str(caught.value) == f"run pure has failed: {why}"


def test_a_submission_waits_no_longer_than_the_recipe_does(files, monkeypatch):
    monkeypatch.setattr(admission, "START_SECONDS", 0.0)  # the recipe's own deadline is 0.3 s
    said = submits(files, monkeypatch)
    assert said.endswith("run pure: not all of its sites have answered yet; it goes on, see `sealora server status`\n")


def test_interrupting_the_wait_stops_nothing(files, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(admission.time, "sleep", interrupt)
    result = None
    with pytest.raises(SystemExit) as left:
        result = submits(files, monkeypatch)
    assert (result, left.value.code) == (None, 130)


FAULTS = {
    "submit missing.yaml --roster roster.json": (RecipeError, "missing.yaml: no such recipe"),
    "submit recipe.yaml --roster missing.json": (PolicyError, "missing.json: the roster cannot be read"),
    "submit recipe.yaml --roster recipe.yaml": (PolicyError, "recipe.yaml: not a roster"),
    "submit recipe.yaml --roster roster.json rouns=1": (RecipeError, "rouns: unknown key"),
    "submit recipe.yaml --roster roster.json --name A/B": (DeploymentError, "'A/B' is no name for a run"),
    "stop ../x": (DeploymentError, "'../x' is no name for a run"),
    "register": (DeploymentError, "give site cards, or a roster with --roster"),
    "register recipe.yaml": (PolicyError, "recipe.yaml: not a site card"),
    "logs": (DeploymentError, "logs/server.log: nothing there yet"),
    "logs r9": (DeploymentError, "there is no run 'r9' in"),
    "logs ../../x": (DeploymentError, "'../../x' is no name for a run"),
    "run --config nowhere/server.yaml": (SealoraError, "nowhere/server.yaml: no such file"),
}


@pytest.mark.parametrize("line", FAULTS)
def test_what_is_wrong_is_said_in_one_sentence_that_names_it(files, asked, monkeypatch, line):
    monkeypatch.chdir(files)
    kind, said = FAULTS[line]
    with pytest.raises(kind) as caught:
        types(*line.split())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert asked == []


def test_a_roster_that_was_tampered_with_is_not_sent(files, asked):
    content = json.loads((files / "roster.json").read_text())
    content["members"].pop()
    (files / "roster.json").write_text(json.dumps(content))
    for command in ("submit", "register", "use-roster"):
        with pytest.raises(PolicyError, match="the coordinator's signature does not hold"):
            types(*commands(files)[command])
    assert asked == []


def test_sites_are_registered_from_a_roster(files, asked):
    assert "registered: site-0, site-1, site-2" in types(*commands(files)["register"])
    assert isinstance(asked[0], Register)
    assert sorted(asked[0].nodes) == ["site-0", "site-1", "site-2"]


def test_the_status_shows_everything_an_operator_must_see(files, asked):
    said = types(*commands(files)["status"])
    for each in (
        "127.0.0.1:9443",
        "ABCDE-FGHIJ-KLMNO-PQRST",
        "2030-01-01",
        "WARNING",
        "expires in 3 days",
        "superlink",
        "down",
    ):
        assert each in said
    for each in ("berlin", "yes", "lyon", "no", "r1", "running", "1 of 3", "stage mask", "lyon, porto"):
        assert each in said
    assert "no part      rome in run r1: no budget [2J" in said
    assert "tls          TLSv1.3, key exchange of the test\n" in said


LONG = "site-" + "abcdefgh-" * 6 + "z"


def shown_status(width: int | None) -> str:
    """On a terminal of so many columns; None: through a pipe."""
    run = STATUS.runs[0].model_copy(update={"said": "word " * 40 + "end", "waiting_for": (LONG, LONG + "2")})
    status = STATUS.model_copy(update={"sites": (SiteStatus(name=LONG, online=True),), "runs": (run,)})
    out = io.StringIO()
    show_status(status, SafeConsole(file=out, force_terminal=width is not None, width=width, color_system=None))
    return out.getvalue()


def test_a_status_that_is_piped_has_one_line_a_row_and_nothing_is_cut_off(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    shown = shown_status(None)
    (row,) = [line for line in shown.splitlines() if "word word" in line]
    assert "word " * 40 + "end" in row
    assert f"{LONG}, {LONG}2" in row
    assert sum(LONG in line for line in shown.splitlines()) == 2
    assert f"signed by the key {KEY}" in shown


@pytest.mark.parametrize("width", [40, 80, 200])
def test_on_a_terminal_a_status_is_folded_and_nothing_is_cut_off_either(width):
    shown = shown_status(width)
    assert "…" not in shown
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    run = list(zip(*[row for row in rows if len(row) == 5], strict=True))
    assert "".join(run[-1]) == f"{LONG},{LONG}2"
    assert "".join(run[-2]).count("word") == 40


def test_the_status_as_json_is_one_object(files, asked):
    assert Status.model_validate_json(types(*commands(files)["status"], "--json")) == STATUS


def test_the_configuration_may_be_named_by_a_variable(files, asked, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setenv("SEALORA_SERVER_CONFIG", str(files / "elsewhere" / "server.yaml"))
    with pytest.raises(DeploymentError, match=r"elsewhere/logs/server\.log"):
        types("logs")


def test_logs_are_shown(files):
    (files / "logs").mkdir()
    (files / "logs" / "server.log").write_text("one\ntwo\n")
    assert types("logs", "--config", files / "server.yaml") == "one\ntwo\n"


def test_a_run_s_story_is_told_without_a_server_and_what_its_process_printed_besides(files):
    run = files / "runs" / "r1"
    run.mkdir(parents=True)
    logs = ("logs", "r1", "--config", files / "server.yaml")
    for more, missing in (((), "events.jsonl"), (("--printed",), "serverapp.log")):
        with pytest.raises(DeploymentError, match=rf"r1/{missing}: nothing there yet"):
            types(*logs, *more)
    write_run(run)
    told = types(*logs).splitlines()
    assert re.match(r"2025-06-15 \d\d:06:40[+-]\d\d:\d\d INFO    demo-icd10: 4 rounds", told[0])
    assert "finished in" in told[-1]
    assert types(*logs, "--follow").splitlines() == told
    (run / "serverapp.log").write_text("three\n")
    assert types(*logs, "--printed") == "three\n"


def test_a_run_that_is_not_there_is_said_beside_those_that_are(files):
    for name in ("r1", "r2"):
        (files / "runs" / name).mkdir(parents=True)
    with pytest.raises(DeploymentError, match=r"there is no run 'r3' in .*/runs: it has r1, r2$"):
        types("logs", "r3", "--config", files / "server.yaml")


def test_logs_are_followed_over_a_rotation(files, monkeypatch):
    path = files / "server.log"
    path.write_text("one\n")
    monkeypatch.setattr(sys, "stdout", shown := Shown())

    def follow() -> None:
        with contextlib.suppress(SystemExit):
            for line in log_lines(path, follow=True, wait=lambda: time.sleep(0.01)):
                say(line)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    shown.wait_for("one\n")
    with path.open("a") as file:
        file.write("two\n")
    shown.wait_for("one\ntwo\n")
    path.rename(files / "server.log.1")
    path.write_text("three\n")
    shown.wait_for("one\ntwo\nthree\n")
    shown.closed = True
    with path.open("a") as file:
        file.write("four\n")
    thread.join(timeout=5)
    assert not thread.is_alive()


class Shown:
    """A standard output that a test waits on; once closed, it ends whoever writes."""

    def __init__(self) -> None:
        self.text = ""
        self.closed = False
        self.changed = threading.Event()

    def write(self, text: str) -> None:
        if self.closed:
            raise SystemExit
        self.text += text
        self.changed.set()

    def flush(self) -> None:
        pass

    def wait_for(self, text: str) -> None:
        while self.text != text:
            assert self.changed.wait(timeout=5), self.text
            self.changed.clear()
