"""Whole runs through real processes, with sites that need no model: undisturbed, stopped, killed anywhere, rotated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from fleet_sites import FleetFederation
from flwr.app import ConfigRecord, RecordDict
from flwr.common.constant import Status
from flwr.proto.control_pb2 import ListRunsRequest
from flwr.supercore.control import ControlHttpClient
from front_bench import HAS_NGINX
from run_bench import ROUNDS, SECONDS, RunBench
from running_server import SEALORA, make_server, run_status, running, said, start, status, until

from sealora_server.deployment.nodes import nodes_of
from sealora_server.deployment.operator.messages import Register, Resume, Stop, UseRoster
from sealora_server.deployment.operator.socket import ask
from sealora_server.deployment.superlink.client import connected

from pure_sites import pure_recipe

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(tmp_path, request) -> Iterator[RunBench]:
    sections = getattr(request, "param", {})
    server, identity = make_server(tmp_path / "server", **sections)
    with running(server) as process:
        yield RunBench(server, identity, process)


@pytest.mark.parametrize("bench", [{}, {"superlink_state": "sqlite"}], indirect=True, ids=["memory", "sqlite"])
def test_a_run_from_submission_to_result(bench):
    bench.submit()
    with bench.federation.connected(bench.address, bench.server.ca):
        shown = bench.until_over()
    assert (shown.condition, shown.said) == ("finished", "all 2 rounds are finished")
    assert len(bench.events("run_started")) == 1
    assert bench.events("round_aborted") == []
    bench.is_right()


@pytest.mark.skipif(not HAS_NGINX, reason="nginx is not installed")
def test_a_run_through_nginx_that_is_killed_once(tmp_path):
    port = 20_000 + os.getpid() % 20_000
    server, identity = make_server(tmp_path / "server", front="nginx", listen=f"127.0.0.1:{port}")
    with running(server) as process:
        bench = RunBench(server, identity, process)
        bench.submit()
        killed = kill_once(bench, "front", "query.mask")
        with bench.federation.connected(bench.address, bench.server.ca):
            shown = bench.until_over()
        assert shown.condition == "finished"
        assert killed
        assert status(server).processes[1].restarts == 1  # its workers did not keep the port
        bench.is_right()
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []


def kill_once(bench: RunBench, victim: str, action: str, at_round: int = ROUNDS) -> list[float]:
    """Has `victim` killed when site-1 is asked for `action` in round `at_round`; returns when, once it was."""
    killed: list[float] = []

    def before(site: str, asked: str) -> None:
        done = (bench.run / "rounds" / f"{at_round - 1:04d}").exists()
        if site == "site-1" and asked == action and done and not killed:
            killed.append(time.monotonic())
            os.kill(bench.pid(victim), signal.SIGKILL)

    for site in bench.federation.sites:
        site.before = before
    return killed


@pytest.mark.parametrize("action", ["train", "query.share", "query.mask", "query.confirm", "query.open"])
@pytest.mark.parametrize("victim", ["superlink", "serverapp", "front"])
def test_a_process_that_is_killed_costs_no_finished_round(bench, victim, action):
    bench.submit()
    killed = kill_once(bench, victim, action)
    with bench.federation.connected(bench.address, bench.server.ca):
        until(lambda: killed, SECONDS, lambda: said(bench.server))
        first = (bench.run / "rounds" / "0001" / "round.json").read_bytes()
        shown = bench.until_over()
        print(f"\n{victim} killed at {action}: finished {time.monotonic() - killed[0]:.1f} s later")
    assert shown.condition == "finished"
    assert (bench.run / "rounds" / "0001" / "round.json").read_bytes() == first
    bench.is_right()


@pytest.mark.parametrize("action", ["train", "query.mask", "query.open"])
def test_a_server_that_is_killed_whole_goes_on_where_it_was(tmp_path, action):
    port = 20_000 + os.getpid() % 20_000
    server, identity = make_server(tmp_path / "server", listen=f"127.0.0.1:{port}")
    with running(server) as process:
        bench = RunBench(server, identity, process)
        bench.submit()
        killed = kill_once(bench, "supervisor", action)
        with bench.federation.connected(f"localhost:{port}", server.ca):
            until(lambda: killed, SECONDS, lambda: said(server))
            process.wait(timeout=30)
            bench.process = start(server)
            try:
                shown = bench.until_over()
                print(f"\nserver killed whole at {action}: finished {time.monotonic() - killed[0]:.1f} s later")
                assert [event["first_round"] for event in bench.events("run_started")] == [1, ROUNDS]
            finally:
                bench.process.terminate()
                bench.process.wait(timeout=40)
    assert shown.condition == "finished"
    bench.is_right()


@pytest.mark.parametrize("bench", [{"superlink_state": "sqlite"}], indirect=True)
def test_a_superlink_with_a_database_that_is_killed_costs_no_finished_round_either(bench):
    bench.submit()
    killed = kill_once(bench, "superlink", "query.mask")
    with bench.federation.connected(bench.address, bench.server.ca):
        shown = bench.until_over()
    assert killed
    assert shown.condition == "finished"
    bench.is_right()


def test_what_an_earlier_server_left_in_the_database_is_ended_before_sites_are_let_in(tmp_path):
    """Otherwise sites would train for orders whose answers nobody reads any more."""

    def at_work() -> int:
        with connected(ControlHttpClient, server.superlink_socket, []) as client:
            runs = client.ListRuns(ListRunsRequest()).run_dict.values()
            return sum(run.status.status != Status.FINISHED for run in runs)

    server, identity = make_server(tmp_path / "server", superlink_state="sqlite")
    with running(server) as process:
        bench = RunBench(server, identity, process)
        bench.submit()
        until(lambda: bench.events("run_started"), SECONDS)
        assert at_work() == 1
        process.kill()
        process.wait()
    with running(server):
        until(lambda: len(bench.events("run_started")) == 2, SECONDS)
        assert at_work() == 1


def test_a_run_that_is_stopped_is_resumed_where_it_was(bench):
    bench.submit()
    with bench.federation.connected(bench.address, bench.server.ca):
        until(lambda: run_status(bench.server, "r1").finished_rounds == 1, SECONDS)
        ask(bench.server.operator_socket, Stop(run="r1"))
        assert run_status(bench.server, "r1").condition == "stopped"
        assert not any(
            each.cmdline()[-1].endswith(".serverapp") for each in psutil.Process(bench.process.pid).children()
        )
        ask(bench.server.operator_socket, Resume(run="r1"))
        assert bench.until_over().condition == "finished"
    assert [event["first_round"] for event in bench.events("run_started")] == [1, 2]
    assert len(bench.events("run_interrupted")) == 1
    bench.is_right()


def test_without_enough_sites_a_run_fails_in_time_and_says_who_is_missing(bench):
    bench.recipe = pure_recipe(
        model={"base": "none", "digest": "0" * 64}, sites={"stage_timeout": 5.0, "training_timeout": 60.0}
    )
    bench.federation = FleetFederation(bench.recipe, 3, bench.identity.public_key)
    missing = bench.federation.sites.pop()
    bench.submit()
    with bench.federation.connected(bench.address, bench.server.ca):
        shown = bench.until_over()
    assert shown.condition == "failed"
    assert f"missing: {missing.name}" in shown.said
    assert "2 of at least 3 sites are ready" in shown.said


BUDGET = "the site's privacy budget does not allow this whole run; `sealora-site budget` at the site says why"


def submit_by_hand(bench, directory):
    """`sealora server submit`, as an operator types it."""
    text = yaml.safe_dump(bench.recipe.model_dump(mode="json"))
    (directory / "recipe.yaml").write_text(text)
    bench.federation.roster.save(directory / "roster.json")
    files = ["recipe.yaml", "--roster", "roster.json", "--name", "r1", "--config", str(bench.server.config_file)]
    command = [sys.executable, "-c", SEALORA, "server", "submit", *files]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)


def refuse(site) -> None:
    """Has the site say no when it is greeted."""
    answer = site.part.answer
    no = RecordDict({"config": ConfigRecord({"error": BUDGET})})
    site.part.answer = lambda action, content: no if action == "query.hello" else answer(action, content)


@pytest.mark.parametrize("count", [4, 3])
def test_the_operator_who_submits_sees_before_the_first_round_which_site_refuses_it(bench, tmp_path, count):
    bench.federation = FleetFederation(bench.recipe, count, bench.identity.public_key)
    refuse(bench.federation.sites[1])
    hold = threading.Event()  # the first round does not begin before the operator has been told
    for site in bench.federation.sites:
        site.before = lambda name, action: action == "train" and hold.wait(timeout=SECONDS)
    ask(bench.server.operator_socket, Register(nodes=nodes_of(bench.federation.roster)))
    with bench.federation.connected(bench.address, bench.server.ca):
        done = submit_by_hand(bench, tmp_path)
        if count == 4:
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[-2:] == [
                "run r1: taking part (3 sites, 3 needed): site-0, site-2, site-3",
                f"run r1: site-1 takes no part: {BUDGET}",
            ]
            assert run_status(bench.server, "r1").turned_away[0].site == "site-1"
            hold.set()
            assert bench.until_over().condition == "finished"
        else:
            assert done.returncode == 1
            assert done.stderr.startswith("Error: run r1 has failed: 2 of at least 3 sites are ready")
            assert f"(missing: site-1; site-1: {BUDGET})" in done.stderr
            assert done.stderr.count("\n") == 1
            assert bench.events("stage") == []
        hold.set()


def test_one_site_s_keys_are_rotated_in_the_middle_of_a_run(bench):
    """The site comes back with another node key, and the roster says so from the next round on."""
    bench.submit()
    rotated = bench.federation.sites[1]
    gone, back = threading.Event(), threading.Event()

    def before(site: str, asked: str) -> None:
        if (bench.run / "rounds" / "0001").exists() and asked == "train" and not back.is_set():
            gone.set()
            assert back.wait(timeout=SECONDS)

    for site in bench.federation.sites:
        site.before = before
    with bench.federation.connected(bench.address, bench.server.ca):
        assert gone.wait(timeout=SECONDS)
        rotated.key = generate_private_key(SECP384R1())
        roster = bench.federation.signed_roster()
        ask(bench.server.operator_socket, UseRoster(run="r1", roster=roster.model_dump_json()))
        back.set()
        shown = bench.until_over()
    assert shown.condition == "finished"
    bench.is_right()
    assert sorted(site.name for site in status(bench.server).sites) == ["site-0", "site-1", "site-2"]


def test_a_second_process_on_the_same_run_directory_does_nothing(bench):
    """As after a mistake of an operator who starts a ServerApp by hand."""
    bench.submit()
    with bench.federation.connected(bench.address, bench.server.ca):
        until(lambda: bench.events("run_started"), SECONDS)
        code = (
            "import sys; from pathlib import Path; from sealora_server.app import serve; serve(None, Path(sys.argv[1]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(bench.run)], capture_output=True, text=True, timeout=60, check=False
        )
        assert "LockedError" in done.stderr
        assert bench.until_over().condition == "finished"
    assert len(bench.events("run_started")) == 1
    bench.is_right()
