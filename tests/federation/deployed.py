"""A whole federation of real processes: `sealora server run`, three `sealora-site run`, TLS, node authentication.

    with Deployed(tmp_path, tiny_base()) as federation:
        run = federation.submit("first")
        run.until_finished()

Server and sites stay up from run to run. Sites can be told where to die (`deployed_site`), started again, and cut off:
each has a network of its own between itself and the server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from faulty_network import FaultyNetwork
from running_server import make_server, run_status, running, said, status, until

from sealora_client.ledger import ChargeRow, Ledger
from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_common.identity.card import create_node_key
from sealora_common.receipts.check import check_chain
from sealora_common.records.event_log import Recorded, read_events
from sealora_common.records.events import Event
from sealora_common.roster import Member, Roster
from sealora_server.deployment.operator.messages import RunStatus, Submit
from sealora_server.deployment.operator.socket import ask
from sealora_server.run.store import RunStore

from tiny_federation import PRIVATE, prepare_run, recipe_of, write_federation

SECONDS = 240.0
ROUNDS = 2
TIMEOUT = 40.0
"""The recipe's deadlines for a stage, in seconds."""


@dataclass
class DeployedSite:
    """One site's directory, its process, and its network."""

    name: str
    directory: Path
    network: FaultyNetwork
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts, or starts again, `sealora-site run`."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("deployed_site.py")), str(self.directory)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def die_at(self, stage: str, round_number: int, moment: str) -> None:
        """Has the site killed there, once."""
        (self.directory / "die-at").write_text(f"{stage} {round_number} {moment}")

    def wait_for_death(self) -> None:
        """Returns when it was."""
        assert self.process is not None
        assert self.process.wait(timeout=SECONDS) == -signal.SIGKILL, self.said()

    def stop(self) -> None:
        """Asks it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(timeout=30)

    @property
    def output(self) -> Path:
        return self.directory / "output"

    def said(self) -> str:
        """What it printed."""
        return self.output.read_text(errors="replace")

    def charges(self, run_id: str) -> list[ChargeRow]:
        """What its ledger holds of a run."""
        with Ledger(self.directory / "ledger.sqlite") as ledger:
            ledger.verify()
            return [row for row in ledger.charges() if row.run == run_id]


class Deployed:
    """The federation, up while it is entered."""

    def __init__(self, directory: Path, base: Path, **sections: dict[str, Any]) -> None:
        # Enough for every run of a test module: what is asked here is where a charge stands, not when it is too much.
        several = {
            "privacy": PRIVATE,
            "sites": {"stage_timeout": TIMEOUT, "training_timeout": TIMEOUT},
        }
        path = write_federation(directory / "data", base, rounds=ROUNDS, **{**several, **sections})
        prepared = directory / "prepared"
        roster = prepare_run(path, prepared)
        self.recipe = recipe_of(prepared)
        self.server, self.identity = make_server(directory / "server")
        self._directories = {name: prepared / "sites" / name for name in roster.names}
        self.roster = self._enrol(roster)
        self.sites: dict[str, DeployedSite] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Deployed:
        with ExitStack() as stack:
            stack.enter_context(running(self.server))
            port = int(status(self.server).address.rpartition(":")[2])
            for name, directory in self._directories.items():
                network = stack.enter_context(FaultyNetwork(port))
                self._connect(directory, network)
                site = self.sites[name] = DeployedSite(name, directory, network)
                stack.callback(site.stop)
                site.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def directory(self, name: str) -> Path:
        """A site's directory."""
        return self._directories[name]

    def submit(self, name: str) -> DeployedRun:
        """Starts a run."""
        recipe = yaml.safe_dump(self.recipe.model_dump(mode="json"))
        ask(self.server.operator_socket, Submit(name=name, recipe=recipe, roster=self.roster.model_dump_json()))
        return DeployedRun(self, name)

    def _enrol(self, roster: Roster) -> Roster:
        """A roster with node keys and this server's key, at every site; policies that allow a module's many runs."""
        coordinator = Identity.create("coordinator", SystemEntropy())
        members = tuple(
            Member(
                name=member.name,
                public_key=member.public_key,
                node_key=create_node_key(self._directories[member.name] / "node.key"),
            )
            for member in roster.members
        )
        keys = {"coordinator": coordinator.public_key_text, "server": self.identity.public_key_text}
        signed = Roster(consortium="deployed", members=members, **keys).signed(coordinator)
        for directory in self._directories.values():
            signed.save(directory / "roster.json")
            _change(directory / "site.yaml", coordinator=coordinator.pin, health=None)
            _change(directory / "policy.yaml", epsilon_limit=1000.0)
        return signed

    def _connect(self, directory: Path, network: FaultyNetwork) -> None:
        _change(directory / "site.yaml", server=network.address.replace("http://", "https://"), ca=str(self.server.ca))


@dataclass
class DeployedRun:
    """A run at the server."""

    federation: Deployed
    name: str

    @property
    def directory(self) -> Path:
        return self.federation.server.runs / self.name

    @property
    def run_id(self) -> str:
        return RunStore.open(self.directory).run_id

    def recorded(self) -> list[Recorded]:
        """The run's events with their times."""
        path = self.directory / "events.jsonl"
        return read_events(path) if path.exists() else []

    def events(self, kind: type[Event]) -> list[Any]:
        return [recorded.event for recorded in self.recorded() if isinstance(recorded.event, kind)]

    def until_over(self) -> RunStatus:
        """Waits for the run's end."""
        server = self.federation.server
        over = {"finished", "failed"}
        until(lambda: run_status(server, self.name).condition in over, SECONDS, lambda: said(server))
        return run_status(server, self.name)

    def seconds_since(self, moment: float) -> float:
        """From a moment (Unix time) to the run's last event."""
        return self.recorded()[-1].time - moment

    def is_right(self) -> None:
        """Every round is there once, receipts hold and the sites have the same; charges cover what left, no more."""
        federation = self.federation
        store = RunStore.open(self.directory)
        assert store.finished_rounds == ROUNDS
        receipts = store.receipts()
        roster = Roster.load(self.directory / "roster.json")
        assert roster.server_key == federation.identity.public_key
        check_chain(receipts, {roster.hash.hex(): roster}, run=store.run_id, recipe=federation.recipe)
        assert [receipt.round_number for receipt in receipts] == list(range(1, ROUNDS + 1))
        for site in federation.sites.values():
            self._is_charged(site, store.run_id)
            assert "Traceback" not in site.said()
        assert "Traceback" not in said(federation.server)

    def _is_charged(self, site: DeployedSite, run_id: str) -> None:
        charges = site.charges(run_id)
        trained = [row for row in charges if row.event.sample_rate < 1]
        masked = (site.directory / "masked.log").read_text().splitlines()
        for number in range(1, ROUNDS + 1):
            released = [row for row in trained if row.round_number == number and row.released is not None]
            still_open = [row for row in trained if row.round_number == number and row.is_open]
            vectors = masked.count(f"{run_id} train {number}")
            # Under `local` a round costs once, however often its vector left: it is the same vector.
            assert vectors >= 1
            assert len(released) == 1
            assert still_open == []


def _change(path: Path, **values: Any) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values, sort_keys=False))
