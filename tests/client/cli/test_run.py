"""`sealora-site run`: a whole site in this process, against Flower's own SuperLink in a thread."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet_server import FleetServer, wait_until
from flwr.app import RecordDict
from typer.testing import CliRunner

from sealora_client.cli import cli
from sealora_client.fleet.node_key import load_node_key
from sealora_client.fleet.session_record import SESSION_RECORD
from sealora_client.fleet.stop import stop_on_signals
from sealora_client.site.process_lock import only_process
from sealora_common.identity.card import create_node_key
from sealora_common.round.hello import Hello

from site_bench import Bench, order_to_train, payload_of, refusal_of
from tiny_federation import PRIVATE


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """`run` sets up the logging of its process, which here is the tests'."""
    root, ours = logging.getLogger(), logging.getLogger("sealora_client")
    before = (list(root.handlers), root.level, ours.level)
    yield
    logging.captureWarnings(False)
    logging.raiseExceptions = True
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
def bench(tiny_base: Callable[..., Path], tmp_path: Path) -> Bench:
    return Bench(tmp_path, tiny_base(), privacy=PRIVATE)


@pytest.fixture
def server() -> Iterator[FleetServer]:
    with FleetServer(keyed=True) as running:
        yield running


def settle_in(bench: Bench, running: FleetServer, **changes: Any) -> Path:
    """Completes the directory of site-0 for `run`; returns it."""
    directory = bench.directory()
    create_node_key(directory / "node.key")
    running.register(load_node_key(directory / "node.key"))
    path = directory / "site.yaml"
    settings = yaml.safe_load(path.read_text()) | {"server": running.address, "health": None} | changes
    path.write_text(yaml.safe_dump(settings))
    return directory


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Run:
    """`sealora-site run` in this thread, and `work` in another, after which the signal is sent."""

    def __init__(self, directory: Path, work: Callable[[], None], *options: str, number: int = signal.SIGTERM) -> None:
        self.trouble: BaseException | None = None

        def drive() -> None:
            try:
                work()
            except BaseException as error:
                self.trouble = error
            os.kill(os.getpid(), number)

        # Should the command end before the driver does, the signal must not end the tests.
        former = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGTERM, signal.SIGINT)}
        former[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: None)  # ignored, it would stay so
        driver = threading.Thread(target=drive)
        driver.start()
        try:
            command = ["run", "--config", str(directory / "site.yaml"), *options]
            self.result = CliRunner().invoke(cli, command)
            driver.join()
        finally:
            for each, handler in former.items():
                signal.signal(each, handler)
        if self.trouble is not None:
            raise self.trouble

    @property
    def lines(self) -> list[str]:
        return self.result.stderr.splitlines()


def test_it_greets_trains_and_leaves(bench: Bench, server: FleetServer) -> None:
    directory = settle_in(bench, server)
    answers: list[Any] = []

    def work() -> None:
        node = server.node_of(load_node_key(directory / "node.key"))
        assert node is not None
        wait_until(lambda: server.status_of(node) == "online", timeout=60)
        run = server.start_run()
        answers.append(server.reply(run, server.order(run, node, "query.hello", RecordDict())))
        answers.append(server.reply(run, server.order(run, node, "train", order_to_train(bench)), timeout=30))
        answers.append(server.status_of(node))

    done = Run(directory, work)
    assert done.result.exit_code == 0, done.result.output
    hello = Hello.parse(payload_of(answers[0].content))
    assert (hello.site, hello.recipe_hash) == ("site-0", bench.recipe.hash)
    assert payload_of(answers[1].content)
    assert answers[2] == "online"
    run = bench.order().run[:12]
    assert any(
        f"run {run} ({bench.recipe.name}), round 1 of" in line and ": trained in " in line for line in done.lines
    )
    assert done.lines[-1].endswith("said goodbye to the server: the session is ended")
    assert json.loads((directory / SESSION_RECORD).read_text())["node_id"] is None
    with only_process(directory):  # nobody holds it any more
        pass


def test_what_it_logs_in_json_is_json_and_holds_no_record(bench: Bench, server: FleetServer) -> None:
    directory = settle_in(bench, server, log_format="json")

    def work() -> None:
        node = server.node_of(load_node_key(directory / "node.key"))
        assert node is not None
        wait_until(lambda: server.status_of(node) == "online", timeout=60)
        run = server.start_run()
        server.reply(run, server.order(run, node, "train", order_to_train(bench)), timeout=30)
        refused = server.reply(run, server.order(run, node, "query.mask", RecordDict()))
        assert refusal_of(refused.content)

    done = Run(directory, work)
    lines = [json.loads(line) for line in done.lines]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    trained = next(line for line in lines if ": trained in " in line["message"])
    assert trained["round"] == 1
    assert set(trained) - {"time", "level", "logger", "message"} == {"run", "round"}
    refused = next(line for line in lines if "mask was refused" in line["message"])
    assert refused["level"] == "warning"
    assert refused["message"].startswith(trained["message"].partition(": ")[0])
    for text in ("What is", "times 2", bench.site.identity.public_key_text):
        assert text not in done.result.stderr


def test_its_probes_and_metrics_tell_of_it(bench: Bench, server: FleetServer) -> None:
    health = f"127.0.0.1:{free_port()}"
    directory = settle_in(bench, server, health=health, grpc_health=f"127.0.0.1:{free_port()}")
    told: dict[str, str] = {}

    def work() -> None:
        node = server.node_of(load_node_key(directory / "node.key"))
        assert node is not None
        wait_until(lambda: server.status_of(node) == "online", timeout=60)
        run = server.start_run()
        server.reply(run, server.order(run, node, "train", order_to_train(bench)), timeout=30)
        for path in ("healthz", "readyz", "metrics"):
            with urllib.request.urlopen(f"http://{health}/{path}", timeout=10) as response:
                told[path] = response.read().decode()
        wait_until(lambda: spent() > 0)
        told["spent"] = str(spent())

    def spent() -> float:
        with urllib.request.urlopen(f"http://{health}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith("sealora_site_epsilon_spent ")).split()[1])

    assert Run(directory, work).result.exit_code == 0
    assert json.loads(told["readyz"])["ready"]
    assert 'sealora_site_messages_total{outcome="answered",stage="train"} 1.0' in told["metrics"]
    assert 0 < float(told["spent"]) <= PRIVATE["epsilon"]


def test_a_probe_that_cannot_listen_is_said_and_stops_nothing(bench: Bench, server: FleetServer) -> None:
    taken = server.address.rpartition(":")[2]
    directory = settle_in(bench, server, health=f"127.0.0.1:{taken}")

    def work() -> None:
        node = server.node_of(load_node_key(directory / "node.key"))
        assert node is not None
        wait_until(lambda: server.status_of(node) == "online", timeout=60)

    done = Run(directory, work)
    assert done.result.exit_code == 0
    assert any("cannot listen there" in line for line in done.lines)


def test_training_that_is_cut_short_is_refused_and_costs_one_charge(bench: Bench, server: FleetServer) -> None:
    """SIGINT in the midst of training: the server is told at once, and the charge pays for the next attempt."""
    directory = settle_in(bench, server)
    answers: list[str] = []
    begun, let_go = threading.Event(), threading.Event()

    def endless(*arguments: Any, **options: Any) -> None:
        begun.set()
        while not let_go.wait(0.01):
            pass

    def work() -> None:
        node = server.node_of(load_node_key(directory / "node.key"))
        assert node is not None
        wait_until(lambda: server.status_of(node) == "online", timeout=60)
        run = server.start_run()
        order = server.order(run, node, "train", order_to_train(bench))
        assert begun.wait(20)
        os.kill(os.getpid(), signal.SIGTERM)
        answers.append(refusal_of(server.reply(run, order).content))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sealora_client.training.local.LocalTraining.train", endless)
        done = Run(directory, work, "--grace", "0.2", number=signal.SIGINT)
    assert done.result.exit_code == 0
    assert answers == ["this site is being stopped by its operator; order the round anew once it is back"]
    with bench.site.ledger() as ledger:
        (row,) = [row for row in ledger.charges() if row.event.sample_rate < 1]
        assert row.is_open


REFUSALS = {
    "no server": ({"server": None}, {}, r"site\.yaml: server: is missing: add the address of the server's front"),
    "no node key": ({"node_key": "other.key"}, {}, r"other\.key: the node key is missing"),
    "no CA": (
        {"server": "https://127.0.0.1:1", "ca": "nowhere.pem"},
        {},
        r"nowhere\.pem: the server's CA cannot be used",
    ),
    "records that are not there": ({"data": "nowhere.jsonl"}, {}, r"nowhere\.jsonl does not exist"),
    "a recipe outside the policy": ({}, {"minimum_sites": 9}, r"minimum_sites is 9, but the roster has 3"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_wrong_with_a_site_is_one_sentence_at_the_start(bench: Bench, server: FleetServer, case: str) -> None:
    settings, policy, said = REFUSALS[case]
    directory = settle_in(bench, server, **settings)
    rules = yaml.safe_load((directory / "policy.yaml").read_text())
    (directory / "policy.yaml").write_text(yaml.safe_dump(rules | policy))
    result = CliRunner().invoke(cli, ["run", "--config", str(directory / "site.yaml")])
    assert result.exit_code == 1
    told = result.stderr + (str(result.exception) if result.exception else "")
    assert re.search(said, told), told
    assert "Traceback" not in told
    assert server.asked == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_whatever_ends_it_it_says_goodbye(bench: Bench, server: FleetServer, number: int) -> None:
    directory = settle_in(bench, server)
    key, seen = load_node_key(directory / "node.key"), []

    def work() -> None:
        wait_until(lambda: server.node_of(key) is not None and server.status_of(server.node_of(key)) == "online", 60)
        seen.append(server.node_of(key))

    done = Run(directory, work, number=number)
    assert done.result.exit_code == 0
    assert done.lines[-1].endswith("said goodbye to the server: the session is ended")
    assert server.status_of(seen[0]) == "offline"


def test_a_hangup_that_is_ignored_stays_so() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals(1.0) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_proxy_that_cannot_be_used_is_named_with_its_variable(bench: Bench, server: FleetServer, monkeypatch) -> None:
    directory = settle_in(bench, server, server="https://sealora.example.org:9443")
    monkeypatch.setenv("ALL_PROXY", "socks5://ada:secret@proxy:1080")
    monkeypatch.setenv("NO_PROXY", "fd00::/8")
    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    result = CliRunner().invoke(cli, ["run", "--config", str(directory / "site.yaml")])
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if "ERROR" in line]
    assert "ALL_PROXY is 'socks5://proxy:1080', and sites speak no socks5 to a proxy: write http://host:port" in line
    assert "secret" not in result.stderr


def test_a_second_process_for_the_same_site_is_refused(bench: Bench, server: FleetServer) -> None:
    directory = settle_in(bench, server)
    with only_process(directory):
        result = CliRunner().invoke(cli, ["run", "--config", str(directory / "site.yaml")])
    assert result.exit_code == 1
    assert "another process runs this site already" in result.stderr
