"""`sealora server check`: each thing that would go wrong in a run is found beforehand, and said with a remedy."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from importlib import metadata
from types import SimpleNamespace

import pytest
import yaml
from fleet_sites import FleetFederation
from typer.testing import CliRunner

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_common.network.tls import server_context
from sealora_common.records.event_log import EventLog
from sealora_common.records.events import RunFailed
from sealora_server.check import preflight, reach, runs, versions
from sealora_server.check.preflight import server_preflight
from sealora_server.cli import cli
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.initialise import initialise
from sealora_server.deployment.operator.messages import ProcessStatus, RunStatus, SiteStatus, Status
from sealora_server.deployment.runs.submission import Operation
from sealora_server.run.store import RunStore
from sealora_server.upkeep.retention import AdapterRetention

from pure_sites import pure_recipe

RECIPE = pure_recipe(rounds=10, model={"base": "none", "digest": "0" * 64})


@pytest.fixture
def server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made, _ = initialise(tmp_path / "server", ["localhost"], listen=f"127.0.0.1:{port}")
    return made


def found(server: ServerDirectory) -> dict[str, list[str]]:
    """By check: what was found that is no pass, and "pass"."""
    said: dict[str, list[str]] = {}
    for finding in server_preflight(ServerDirectory(server.config_file)):
        assert "\n" not in finding.said
        text = finding.status if finding.status == "pass" else f"{finding.status}: {finding.said}"
        said.setdefault(finding.check, []).append(text)
    return said


def change(server: ServerDirectory, **values) -> None:
    server.config_file.write_text(yaml.safe_dump(yaml.safe_load(server.config_file.read_text()) | values))


def add_run(server: ServerDirectory, name: str, condition="stopped", *, at: datetime | None = None) -> RunStore:
    store = RunStore.create(server.runs / name, RECIPE, server_key="../../identity.pem")
    federation = FleetFederation(RECIPE, 3, Identity.load("server", server.identity).public_key)
    roster = federation.roster
    if at is not None:
        roster = roster.model_copy(update={"signature": ""}).signed(federation.coordinator, at=at)
    roster.save(store.directory / "roster.json")
    Operation(condition=condition).save(store.directory)
    return store


def test_a_server_that_was_just_made_has_nothing_wrong_but_that_it_does_not_run(server):
    said = found(server)
    assert {check: texts for check, texts in said.items() if set(texts) != {"pass"}} == {
        "server": [f"warn: does not run: start it with `sealora server run --config {server.config_file}`"]
    }
    assert {"server.yaml", "directory", "identity", "certificate", "port", "disk", "clock", "versions"} <= said.keys()


def test_the_command_says_it_line_by_line_and_by_its_exit_status(server):
    def check(*options):
        return CliRunner().invoke(cli, ["server", "check", "--config", str(server.config_file), *options])

    sound = check()
    assert (sound.exit_code, sound.output.splitlines()[-1]) == (0, "This server is ready.")
    server.identity.chmod(0o644)
    broken = check()
    assert broken.exit_code == 1
    assert "fail  keys" in broken.output
    assert "chmod 600 it, and replace it if they did" in broken.output.replace("\n", "")
    told = json.loads(check("--json").output)
    assert told["ok"] is False
    assert {"check": "keys", "status": "fail"}.items() <= told["checks"][2].items()


def test_files_that_are_open_missing_or_of_two_servers(server, tmp_path):
    server.path.chmod(0o755)
    (server.path / "tls" / "ca-key.pem").chmod(0o640)
    other = Identity.create("server", SystemEntropy())
    from sealora_common.identity import write_public_key

    write_public_key(server.public_key, other.public_key)
    server.nodes.write_text("{")
    said = found(server)
    assert said["directory"] == [f"warn: {server.path} is open to other accounts: chmod 700 it"]
    assert "ca-key.pem: others can read it" in said["keys"][0]
    assert "is not the public half of" in said["identity"][0]
    assert "nodes.json: cannot be read: restore it" in said["sites"][0]
    server.identity.unlink()
    assert "the private key is missing: restore it from a backup" in found(server)["identity"][0]


def test_a_configuration_that_cannot_be_read_ends_it_there(server):
    server.config_file.write_text("hosts: [")
    assert list(found(server)) == ["server.yaml"]


def test_a_certificate_that_is_for_other_names_or_ends_soon(server):
    change(server, hosts=["localhost", "sealora.example.org"])
    assert "not for sealora.example.org: sites that connect under that name" in found(server)["certificate"][0]
    change(server, hosts=["localhost"], tls={"warn_days": 3650})
    texts = found(server)["certificate"]
    assert any("server.pem ends on" in text and "sealora server certificate renew" in text for text in texts)
    change(server, front="none", tls={})
    assert found(server)["certificate"] == ["pass"]


def test_a_port_that_is_taken(server):
    host, _, port = server.config.listen.rpartition(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        assert "cannot listen there" in found(server)["port"][0]


def test_a_roster_that_ends_soon_or_has_ended_and_a_run_that_is_finished_asks_for_none(server):
    now = datetime.now(UTC)
    add_run(server, "done", "finished", at=now - timedelta(days=400))
    assert "roster" not in found(server)
    add_run(server, "soon", at=now - timedelta(days=350))
    add_run(server, "over", at=now - timedelta(days=400))
    said = found(server)["roster"]
    assert said[0].startswith("fail: run over: expired ")
    assert said[1].startswith("warn: run soon: expires ")
    assert said[0].endswith("have the coordinator sign it anew, then `sealora server use-roster over`")


def test_room_on_the_disk_is_held_against_what_runs_have_yet_to_write(server, monkeypatch):
    def free(size):
        monkeypatch.setattr(runs.shutil, "disk_usage", lambda path: SimpleNamespace(free=size))
        return found(server)["disk"]

    assert free(50 * 2**30) == ["pass"]
    assert "archive and delete old runs before it runs out" in free(2**29)[0]
    store = add_run(server, "r1")
    assert free(50 * 2**30) == ["pass"]
    adapter = store.round_directory(1) / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_model.safetensors").write_bytes(bytes(2**20))
    for name in ("round.json", "receipt.json"):
        (store.round_directory(1) / name).write_text("{}")
    text = free(2**20)[0]
    assert text.startswith("fail: 1 MiB free, and unfinished runs have yet to take about ")
    assert "keep fewer adapters (`adapters` in server.yaml)" in text
    every = runs.bytes_to_come(store, AdapterRetention(keep_last=None))
    few = runs.bytes_to_come(store, AdapterRetention(keep_last=2))
    assert (every // 2**20, few // 2**20) == (9 + 2, 1 + 1 + 2)  # nine rounds to come
    assert runs.bytes_to_come(add_run(server, "r2"), AdapterRetention()) is None


def test_a_clock_that_is_behind_what_its_own_runs_have_written(server):
    store = add_run(server, "r1")
    EventLog(store.events.path, clock=lambda: time.time() + 7200).write(RunFailed(reason="x"))
    assert "which is to come: set the clock" in found(server)["clock"][0]


def test_what_is_installed_in_another_version_than_was_asked_for(server, monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: ["flwr==9.9.9 ; extra == 'server'", "typer>=0.15", "no==1"])
    said = [finding.said for finding in versions.check_versions() if finding.status == "warn"]
    assert said == [f"flwr is {metadata.version('flwr')}, and Sealora was made for 9.9.9: install that one"]


STATUS = Status(
    up=True,
    address="127.0.0.1:1",
    hosts=("localhost",),
    server_key="K",
    health=None,
    certificate_expires="2030-01-01T00:00:00+00:00",
    tls="",
    warnings=("a warning",),
    processes=(ProcessStatus(name="superlink", pid=5, restarts=0, seconds=1), ),
    sites=(SiteStatus(name="berlin", online=True), SiteStatus(name="lyon", online=False)),
    runs=(RunStatus(name="r1", condition="failed", said="why", finished_rounds=0, rounds=3),),
)  # fmt: skip


def test_of_one_that_runs_it_is_told_who_is_connected_what_failed_and_which_process_is_down(server, monkeypatch):
    monkeypatch.setattr(preflight, "ask", lambda socket, request: STATUS)
    said = found(server)
    assert said["server"] == ["pass", "warn: a warning"]
    assert said["sites"] == ["warn: 1 of 2 connected; ask for lyon if a run needs them"]
    assert said["run"] == ["warn: r1 is failed: why"]
    down = STATUS.model_copy(update={"processes": (ProcessStatus(name="front", pid=None, restarts=1, seconds=0),)})
    monkeypatch.setattr(preflight, "ask", lambda socket, request: down)
    assert "is starting (front)" in found(server)["server"][0]


def test_whether_its_names_lead_to_it_with_a_certificate_that_sites_take(server, tmp_path, monkeypatch):
    monkeypatch.setattr(reach, "_SECONDS", 2.0)
    other, _ = initialise(tmp_path / "other", ["localhost"])
    for shown, said in ((server, "pass"), (other, "fail: localhost:")):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            context = server_context(shown.certificate, shown.key)

            def shake_hands(listener=listener, context=context):
                plain, _ = listener.accept()
                try:
                    context.wrap_socket(plain, server_side=True).close()
                except OSError:
                    plain.close()

            thread = threading.Thread(target=shake_hands, daemon=True)
            thread.start()
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            (finding,) = reach.check_reach(server, address)
            thread.join(5)
        assert f"{finding.status}: {finding.said}".startswith(said)
    (refused,) = reach.check_reach(server, address)
    assert (refused.status, "look at firewall, load balancer" in refused.said) == ("warn", True)
    change(server, hosts=["no-such-name.invalid"])
    (unknown,) = reach.check_reach(ServerDirectory(server.config_file), address)
    assert unknown.said.startswith("no-such-name.invalid: no such name is known here: correct `hosts`")


def test_a_damaged_run_or_what_is_left_of_a_deleted_one_stops_no_check(server):
    store = add_run(server, "r1")
    (store.directory / "run.json").write_text("{")
    shutil.copytree(store.directory, server.runs / ".r2.deleted")
    assert "disk" in found(server)
