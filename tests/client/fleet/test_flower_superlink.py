"""Real processes: Flower's `flower-superlink`, our `sealora-site run`, and a stock `flower-supernode`."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet_server import FleetServer, wait_until
from fleet_site import FleetSite, payload_of, refusal_of
from flwr.app import RecordDict
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import NOOP_FLWR_AID
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.fab import Fab
from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories

from sealora_client.fleet.node_key import load_node_key
from sealora_common.identity.card import create_node_key
from sealora_common.round.hello import Hello

from site_bench import Bench, order_to_train
from tiny_federation import PRIVATE

BIN = Path(sys.executable).parent


class FlowerSuperLink(FleetServer):
    """A `flower-superlink` process over a database file, which the test opens as well, as a ServerApp's side."""

    def __init__(self, directory: Path, *, simulated_runs: bool = False) -> None:
        self.database = directory / "state.db"
        self.log = directory / "superlink.log"
        self._home = directory / "home"
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    def forget(self) -> None:
        _, self._factory = get_objectstore_linkstate_factories(str(self.database), get_federation_manager())
        self.state = self._factory.state()

    def start(self) -> None:
        command = [str(BIN / "flower-superlink"), "--insecure", "--host", "127.0.0.1", "--port", str(self._port)]
        command += [
            "--isolation",
            "process",
            "--database",
            str(self.database),
            "--disable-runtime-dependency-installation",
        ]
        environment = os.environ | {
            "FLWR_HOME": str(self._home), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
        }  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        wait_until(self._listens, timeout=30)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


@pytest.fixture
def superlink(tmp_path: Path) -> Iterator[FlowerSuperLink]:
    (tmp_path / "superlink").mkdir()
    with FlowerSuperLink(tmp_path / "superlink") as running:
        yield running


@pytest.mark.slow
def test_a_site_outlives_a_superlink_that_is_killed_and_never_fetches_its_bundle(
    superlink: FlowerSuperLink, tmp_path: Path
) -> None:
    with FleetSite(tmp_path, superlink.address) as site:
        wait_until(lambda: site.health.ready, timeout=20)
        node = superlink.node_of(site.key)
        assert node is not None
        run = superlink.start_run()
        assert payload_of(superlink.reply(run, superlink.order(run, node, "query.hello", RecordDict()))) == b"1"
        superlink.stop()  # kill -9
        wait_until(lambda: not site.health.ready)
        superlink.start()
        wait_until(lambda: site.health.ready, timeout=20)
        assert payload_of(superlink.reply(run, superlink.order(run, node, "train", RecordDict()))) == b"2"
        assert superlink.node_of(site.key) == node
    told = superlink.log.read_text()
    assert "Fleet.ActivateNode" in told
    assert "GetFab" not in told


def settled(bench: Bench, superlink: FlowerSuperLink) -> Path:
    directory = bench.directory()
    create_node_key(directory / "node.key")
    path = directory / "site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"server": superlink.address, "health": None}))
    return directory


class SiteProcess:
    """`sealora-site run` as a process."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "run.log"
        command = [str(BIN / "sealora-site"), "run", "--config", str(directory / "site.yaml")]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd="/")

    def connected(self, times: int = 1) -> bool:
        return self.log.exists() and self.log.read_text().count("connected to") >= times

    def finish(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.mark.slow
def test_a_site_killed_in_training_rejoins_by_itself_says_what_was_lost_and_has_paid_once(
    superlink: FlowerSuperLink, tiny_base: Callable[..., Path], tmp_path: Path
) -> None:
    training = {"steps_per_round": 20_000}
    bench = Bench(tmp_path / "federation", tiny_base(), privacy=PRIVATE, training=training)
    directory = settled(bench, superlink)

    def charges() -> list[Any]:
        with bench.site.ledger() as ledger:
            return [row for row in ledger.charges() if row.event.sample_rate < 1]

    site = SiteProcess(directory)
    wait_until(site.connected, timeout=120)
    node = superlink.node_of(load_node_key(directory / "node.key"))
    assert node is not None
    run = superlink.start_run()
    greeting = superlink.reply(run, superlink.order(run, node, "query.hello", RecordDict()), timeout=30)
    assert Hello.parse(payload_of(greeting)).site == "site-0"
    order = superlink.order(run, node, "train", order_to_train(bench), ttl=600)
    wait_until(lambda: len(charges()) == 1, timeout=60)
    site.finish(signal.SIGKILL)
    assert superlink.status_of(node) == "online"  # as far as Flower knows
    again = SiteProcess(directory)
    wait_until(lambda: again.connected(2), timeout=120)
    assert "restarted" in refusal_of(superlink.reply(run, order, timeout=30))
    (charge,) = charges()
    assert charge.is_open
    assert again.finish(signal.SIGTERM) == 0
    assert superlink.status_of(node) == "offline"
    assert "Traceback" not in site.log.read_text()


@pytest.mark.slow
def test_a_site_without_its_journal_waits_out_the_minute_for_which_flower_refuses_it(
    superlink: FlowerSuperLink, tmp_path: Path
) -> None:
    crashed = FleetSite(tmp_path, superlink.address)
    crashed.connection.open()
    started = time.monotonic()
    with FleetSite(tmp_path, superlink.address, key=crashed.key) as site:
        wait_until(lambda: "last session" in site.health.state.parts["server"].said)
        wait_until(lambda: site.health.ready, timeout=90)
    assert 50 < time.monotonic() - started < 80


def test_a_bundle_with_other_code_has_no_effect_at_a_site(superlink: FlowerSuperLink, tmp_path: Path) -> None:
    """The run's bundle is one in which the server's operator put code of their own under the site's app's name."""
    code, ran = planted(tmp_path)
    with FleetSite(tmp_path, superlink.address) as site:
        wait_until(lambda: site.health.ready, timeout=20)
        node = superlink.node_of(site.key)
        assert node is not None
        run = start_run_with_bundle(superlink, code)
        assert payload_of(superlink.reply(run, superlink.order(run, node, "train", RecordDict()))) == b"1"
    assert not ran.exists()
    assert "GetFab" not in superlink.log.read_text()


@pytest.mark.slow
def test_the_same_app_runs_under_a_stock_supernode(
    superlink: FlowerSuperLink, tiny_base: Callable[..., Path], tmp_path: Path
) -> None:
    bench = Bench(tmp_path / "federation", tiny_base(), privacy=PRIVATE)
    with stock_supernode(superlink, tmp_path, bench.directory()) as node:
        run = start_run_with_bundle(superlink)
        order = superlink.order(run, node, "query.hello", RecordDict(), ttl=300)
        reply = superlink.reply(run, order, timeout=180)
        assert Hello.parse(payload_of(reply)).site == "site-0", (tmp_path / "supernode.log").read_text()


@pytest.mark.slow
def test_a_stock_supernode_does_run_what_the_server_puts_into_the_bundle(
    superlink: FlowerSuperLink, tmp_path: Path
) -> None:
    """Why a site runs `sealora-site run` instead; and that the test above could fail."""
    code, ran = planted(tmp_path)
    with stock_supernode(superlink, tmp_path, tmp_path) as node:
        run = start_run_with_bundle(superlink, code)
        superlink.order(run, node, "query.hello", RecordDict(), ttl=300)
        wait_until(ran.exists, timeout=120)


def planted(directory: Path) -> tuple[dict[str, bytes], Path]:
    """Files for a bundle with code under the name of the site's app, and the file that appears once it ran."""
    ran = directory / "the-server-s-code-ran"
    app = f"open({str(ran)!r}, 'w').close()\nfrom flwr.clientapp import ClientApp\napp = ClientApp()\n"
    return {"sealora_client/__init__.py": b"", "sealora_client/app.py": app.encode()}, ran


@contextmanager
def stock_supernode(superlink: FlowerSuperLink, directory: Path, site: Path) -> Iterator[int]:
    """A `flower-supernode` process with its own isolation; its node id."""
    command = [str(BIN / "flower-supernode"), "--insecure", "--superlink", superlink.address.removeprefix("http://")]
    command += ["--node-config", f'site-directory="{site}"']
    environment = os.environ | {
        "FLWR_HOME": str(directory / "home"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1", "PATH": f"{BIN}:{os.environ['PATH']}",
    }  # fmt: skip
    with (directory / "supernode.log").open("wb") as log:
        node = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        online: list[Any] = []
        wait_until(lambda: bool(online.append(superlink.state.get_node_info(statuses=["online"])) or online[-1]), 60)
        yield online[-1][0].node_id
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def start_run_with_bundle(superlink: FlowerSuperLink, code: dict[str, bytes] | None = None) -> int:
    """A run whose bundle names the installed app and holds no code, as a stock SuperNode asks for one; or code."""
    project = """
[project]
name = "sealora"
version = "0.1.0"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "sealora"
[tool.flwr.app.components]
serverapp = "sealora_server.app:app"
clientapp = "sealora_client.app:app"
[tool.flwr.app.config]
recipe = ""
"""
    content, _ = build_fab_from_files({"pyproject.toml": project.encode(), **(code or {})})
    digest = superlink.state.store_fab(Fab(hashlib.sha256(content).hexdigest(), content, {}))
    run_id = superlink.state.create_run(
        "sealora/sealora", "0.1.0", digest, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
    )
    task_id = superlink.state.get_run_info(run_ids=[run_id])[0].primary_task_id
    assert superlink.state.claim_task(task_id)
    assert superlink.state.activate_task(task_id)
    superlink.keep_alive(task_id)
    return int(run_id)
