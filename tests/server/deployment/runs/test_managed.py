"""What becomes of a run when its process ends, is stopped, or cannot be kept running; and what is no run at all."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from fleet_sites import FleetFederation

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_common.records.events import RunFailed, RunFinished, SitesReady, TurnedAway
from sealora_common.roster import Roster
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.nodes import NodeList
from sealora_server.deployment.operator.messages import (
    Register,
    Resume,
    Stop,
    Submit,
    Unregister,
    UseRoster,
)
from sealora_server.deployment.operator.operations import Operations
from sealora_server.deployment.runs import managed as runs
from sealora_server.deployment.runs.managed import RunHost
from sealora_server.deployment.runs.serverapp_process import Outcome
from sealora_server.deployment.runs.submission import Operation
from sealora_server.deployment.superlink.client import Node
from sealora_server.run.store import RunResult, RunStore

from pure_sites import pure_recipe

RECIPE = pure_recipe(model={"base": "none", "digest": "0" * 64})
SECONDS = 10.0


@dataclass
class FakeSuperLink:
    """Starts runs with numbers 1, 2, ... unless it is told to refuse."""

    refusals: int = 0
    started: list[dict[str, str]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    known: dict[bytes, str] = field(default_factory=dict)

    def start_run(self, bundle: bytes, bundle_hash: str, config: dict[str, str]) -> tuple[int, str]:
        if self.refusals:
            self.refusals -= 1
            raise DeploymentError("the SuperLink does not answer")
        self.started.append(config)
        return len(self.started), f"token-{len(self.started)}"

    def end_run(self, run_id: int) -> None:
        self.ended.append(run_id)

    def nodes(self) -> list[Node]:
        return [Node(number, name, key, True, True) for number, (key, name) in enumerate(self.known.items())]

    def register(self, name: str, key: bytes) -> None:
        self.known[key] = name

    def unregister(self, node_id: int) -> None:
        del self.known[list(self.known)[node_id]]


class FakeProcess:
    """A ServerApp that ends when a test says so."""

    pid = 1

    def __init__(self, spec: Any) -> None:
        self.settings = spec.settings()
        self.spec = spec
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    async def stop(self, patience: float) -> int:
        self.end(Outcome.STOPPED)
        return Outcome.STOPPED

    def end(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)


class Bench:
    """A server's operations, with a fake SuperLink and fake ServerApps."""

    def __init__(self, server: ServerDirectory, superlink: FakeSuperLink, processes: list[FakeProcess]) -> None:
        self.server = server
        self.superlink = superlink
        self.processes = processes
        self.identity = Identity.load("server", server.identity)
        self.federation = FleetFederation(RECIPE, 3, self.identity.public_key)

    def operations(self) -> Operations:
        host = RunHost(self.server, os.getpid(), self.superlink, asyncio.Lock(), lambda name, line: None)
        return Operations(host, self.identity.public_key)

    def submission(self, **changes: Any) -> Submit:
        recipe = yaml.safe_dump(changes.pop("recipe", RECIPE).model_dump(mode="json"))
        roster = changes.pop("roster", self.federation.roster).model_dump_json()
        return Submit(**{"name": "r1", "recipe": recipe, "roster": roster, **changes})

    async def process(self, number: int) -> FakeProcess:
        """The ServerApp number 1, 2, ..."""
        async with asyncio.timeout(SECONDS):
            while len(self.processes) < number:
                await asyncio.sleep(0.005)
        return self.processes[number - 1]

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not check():
                await asyncio.sleep(0.005)

    def saved(self, name: str = "r1") -> Operation:
        return Operation.load(self.server.runs / name)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    server = ServerDirectory(tmp_path / "server.yaml")
    server.config_file.write_text("hosts: [localhost]\n")
    server.runs.mkdir()
    Identity.create("server", SystemEntropy()).save(server.identity)
    processes: list[FakeProcess] = []

    async def start(spec: Any, lines: Any) -> FakeProcess:
        processes.append(FakeProcess(spec))
        return processes[-1]

    monkeypatch.setattr(runs.RunningProcess, "start", start)
    monkeypatch.setattr("sealora_server.deployment.processes.restarts._FIRST_DELAY", 0.001)
    return Bench(server, FakeSuperLink(), processes)


def test_a_submitted_run_has_a_directory_registered_sites_and_a_process(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        process = await bench.process(1)
        directory = bench.server.runs / "r1"
        assert process.settings.run_directory == directory
        assert (process.settings.token, process.settings.supervisor) == ("token-1", os.getpid())
        assert bench.superlink.started == [{"run-directory": "r1"}]  # sites are told this: no path of the server's
        assert process.spec.directory == bench.server.runs
        assert sorted(bench.superlink.known.values()) == ["site-0", "site-1", "site-2"]
        assert RunStore.open(directory).recipe == RECIPE
        assert Roster.load(directory / "roster.json") == bench.federation.roster
        assert bench.saved().condition == "running"
        await operations.pause_runs()

    asyncio.run(run())


def test_every_run_of_a_server_signs_its_receipts_with_the_server_s_own_identity(bench):
    async def run() -> None:
        operations = bench.operations()
        for name in ("r1", "r2"):
            await operations.handle(bench.submission(name=name))
            store = RunStore.open(bench.server.runs / name)
            assert store.server_identity().public_key == bench.identity.public_key
            assert not (store.directory / "server.pem").exists()
        await operations.pause_runs()

    asyncio.run(run())


def test_who_takes_no_part_stands_in_the_status_while_the_run_goes_on_and_where_it_failed(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        process = await bench.process(1)
        away = TurnedAway(site="site-2", node=7, reason="no budget")
        events = RunStore.open(bench.server.runs / "r1").events
        events.write(SitesReady(sites=("site-0", "site-1"), turned_away=(away,)))
        assert operations.runs["r1"].status().turned_away == (away,)
        process.end(Outcome.FAILED)
        await bench.until(lambda: bench.saved().condition == "failed")
        assert operations.runs["r1"].status().turned_away == (away,)
        await operations.handle(Resume(run="r1"))
        (await bench.process(2)).end(Outcome.FINISHED)
        await bench.until(lambda: bench.saved().condition == "finished")
        assert operations.runs["r1"].status().turned_away == ()

    asyncio.run(run())


def test_a_finished_run_is_not_started_again(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        (await bench.process(1)).end(Outcome.FINISHED)
        await bench.until(lambda: bench.saved().condition == "finished")
        again = bench.operations()
        again.start_runs()
        await asyncio.sleep(0.05)
        with pytest.raises(DeploymentError, match="run 'r1' cannot be resumed: it is finished"):
            await again.handle(Resume(run="r1"))
        assert len(bench.processes) == 1

    asyncio.run(run())


@pytest.mark.parametrize("status", [-signal.SIGKILL, Outcome.CRASHED, Outcome.LOST])
def test_a_process_that_dies_is_followed_by_another_with_a_flower_run_of_its_own(bench, status):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        (await bench.process(1)).end(status)
        process = await bench.process(2)
        assert process.settings.token == "token-2"
        assert bench.superlink.ended == [1]
        assert bench.saved().condition == "running"
        await operations.pause_runs()

    asyncio.run(run())


def test_a_run_that_cannot_go_on_waits_for_its_operator_and_says_why(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        process = await bench.process(1)
        RunStore.open(bench.server.runs / "r1").events.write(RunFailed(reason="site-2 is missing"))
        process.end(Outcome.FAILED)
        await bench.until(lambda: bench.saved().condition == "failed")
        assert bench.saved().said == "site-2 is missing"
        assert operations.runs["r1"].status().said == "site-2 is missing"
        again = bench.operations()
        again.start_runs()
        await asyncio.sleep(0.05)
        assert len(bench.processes) == 1
        await again.handle(Resume(run="r1"))
        await bench.process(2)
        assert bench.saved().condition == "running"
        await again.pause_runs()

    asyncio.run(run())


def test_what_a_full_disk_kept_from_the_events_is_taken_from_what_the_process_said(bench, monkeypatch):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        process = await bench.process(1)
        operations.runs["r1"]._hear("ERROR   cannot write x: the disk is full: free some space")
        process.end(Outcome.FAILED)
        await bench.until(lambda: bench.saved().condition == "failed")
        assert "the disk is full" in bench.saved().said

    asyncio.run(run())


def test_a_run_whose_processes_keep_dying_is_given_up(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        for number in range(1, 6):
            (await bench.process(number)).end(-signal.SIGSEGV)
        await bench.until(lambda: bench.saved().condition == "failed")
        said = "it could not be kept running (its process ended with status -11): mend that, then resume it"
        assert bench.saved().said == said
        await asyncio.sleep(0.05)
        assert len(bench.processes) == 5

    asyncio.run(run())


def test_a_superlink_that_refuses_for_a_while_is_asked_again(bench):
    async def run() -> None:
        bench.superlink.refusals = 2
        operations = bench.operations()
        await operations.handle(bench.submission())
        assert (await bench.process(1)).settings.token == "token-1"
        await operations.pause_runs()

    asyncio.run(run())


def test_a_process_that_is_killed_after_the_last_event_leaves_a_finished_run(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        process = await bench.process(1)
        finished = RunFinished(seconds=1, heldout_loss_before=1, heldout_loss_after=1, adapter_sha256="x")
        RunStore.open(bench.server.runs / "r1").events.write(finished)
        process.end(-signal.SIGKILL)
        await bench.until(lambda: bench.saved().condition == "finished")
        assert len(bench.processes) == 1

    asyncio.run(run())


def test_a_process_that_is_killed_after_it_has_stored_its_end_leaves_a_finished_run(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        process = await bench.process(1)
        result = RunResult(adapter_sha256="x", heldout_loss_before=1.0, heldout_loss_after=1.0)
        RunStore.open(bench.server.runs / "r1").finish(result)
        process.end(-signal.SIGKILL)
        await bench.until(lambda: bench.saved().condition == "finished")
        assert len(bench.processes) == 1

    asyncio.run(run())


def test_a_stopped_run_stays_stopped_over_a_restart_until_it_is_resumed(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        process = await bench.process(1)
        await operations.handle(Stop(run="r1"))
        assert process.ended.result() == Outcome.STOPPED
        with pytest.raises(DeploymentError, match="run 'r1' does not run: it is stopped"):
            await operations.handle(Stop(run="r1"))
        again = bench.operations()
        again.start_runs()
        await asyncio.sleep(0.05)
        assert len(bench.processes) == 1
        await again.handle(Resume(run="r1"))
        await bench.process(2)
        with pytest.raises(DeploymentError, match="cannot be resumed: it is running"):
            await again.handle(Resume(run="r1"))
        await again.pause_runs()

    asyncio.run(run())


def test_a_server_that_stops_and_starts_goes_on_with_its_runs(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        process = await bench.process(1)
        await operations.pause_runs()
        assert process.ended.done()
        assert bench.saved().condition == "running"
        again = bench.operations()
        again.start_runs()
        await bench.process(2)
        await again.pause_runs()

    asyncio.run(run())


def other_server(bench):
    return FleetFederation(RECIPE, 3, Identity.create("server", SystemEntropy()).public_key).roster


def no_server(bench):
    roster = bench.federation.roster.model_copy(update={"server": None, "signature": ""})
    return roster.signed(bench.federation.coordinator)


def no_node_key(bench):
    roster = bench.federation.roster
    member = roster.members[1].model_copy(update={"node_key": None})
    return roster.with_member(member).signed(bench.federation.coordinator)


REFUSED = {
    "the recipe's model.digest is missing, so sites could train on different base models: put in what "
    "`sealora-site model digest none` prints": {"recipe": lambda bench: pure_recipe()},
    "the roster names another server key, so sites would not accept": {"roster": other_server},
    "the roster names no server key": {"roster": no_server},
    "site 'site-1' has no node key on the roster": {"roster": no_node_key},
    "the coordinator's signature on the roster does not hold": {
        "roster": lambda bench: bench.federation.roster.without_member("site-2")
    },
    "the roster has 2 sites and the recipe needs 3: add sites": {
        "roster": lambda bench: bench.federation.roster.without_member("site-2").signed(bench.federation.coordinator)
    },
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_submission_that_could_come_to_nothing_is_refused_and_leaves_nothing(bench, said):
    async def run() -> None:
        operations = bench.operations()
        changes = {name: make(bench) for name, make in REFUSED[said].items()}
        with pytest.raises(DeploymentError) as caught:
            await operations.handle(bench.submission(**changes))
        assert said in str(caught.value)
        assert list(bench.server.runs.iterdir()) == []
        assert bench.superlink.known == {}
        assert operations.runs == {}

    asyncio.run(run())


def test_a_name_is_used_once(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        with pytest.raises(DeploymentError, match=r"r1 exists: give this run another name with --name"):
            await operations.handle(bench.submission())
        await operations.pause_runs()

    asyncio.run(run())


def test_a_submission_that_finds_no_superlink_leaves_nothing_and_can_be_made_again(bench):
    async def run() -> None:
        operations = bench.operations()
        nodes, bench.superlink.nodes = bench.superlink.nodes, lambda: (_ for _ in ()).throw(DeploymentError("down"))
        with pytest.raises(DeploymentError, match="down"):
            await operations.handle(bench.submission())
        assert list(bench.server.runs.iterdir()) == []
        bench.superlink.nodes = nodes
        await operations.handle(bench.submission())
        await bench.process(1)
        await operations.pause_runs()

    asyncio.run(run())


def test_a_submission_that_was_cut_short_is_left_alone(bench):
    RunStore.create(bench.server.runs / "cut", RECIPE)
    (bench.server.runs / "empty").mkdir()
    assert bench.operations().runs == {}


def test_a_run_whose_operation_file_is_damaged_waits_for_its_operator(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        await operations.pause_runs()
        (bench.server.runs / "r1" / "operation.json").write_text("{")
        again = bench.operations()
        again.start_runs()
        status = again.runs["r1"].status()
        assert status.condition == "stopped"
        assert "is missing or damaged: resume the run" in status.said

    asyncio.run(run())


def test_a_run_with_a_damaged_recipe_does_not_keep_the_others_from_starting(bench):
    async def run() -> None:
        operations = bench.operations()
        for name in ("bad", "good"):
            await operations.handle(bench.submission(name=name))
        await operations.pause_runs()
        (bench.server.runs / "bad" / "recipe.yaml").write_text("rounds: many")
        assert list(bench.operations().runs) == ["good"]

    asyncio.run(run())


def test_a_new_roster_takes_the_old_one_s_place_and_its_sites_may_connect(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        before = set(bench.superlink.known)
        bench.federation.sites[1].key = type(bench.federation.sites[1])(bench.federation.sites[1].part).key
        roster = bench.federation.signed_roster(bench.federation.roster)
        await operations.handle(UseRoster(run="r1", roster=roster.model_dump_json()))
        assert Roster.load(bench.server.runs / "r1" / "roster.json") == roster
        assert len(before & set(bench.superlink.known)) == 2
        assert len(bench.superlink.known) == 3
        await operations.pause_runs()

    asyncio.run(run())


def test_a_roster_of_another_coordinator_is_not_taken(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        other = FleetFederation(RECIPE, 3, bench.identity.public_key).roster
        before = (bench.server.runs / "r1" / "roster.json").read_bytes()
        known = dict(bench.superlink.known)
        with pytest.raises(DeploymentError, match="this roster is of another coordinator than run 'r1' has"):
            await operations.handle(UseRoster(run="r1", roster=other.model_dump_json()))
        assert (bench.server.runs / "r1" / "roster.json").read_bytes() == before
        assert bench.superlink.known == known
        await operations.pause_runs()

    asyncio.run(run())


NOT_NEXT = {
    "the other face": (lambda first: first, "two faces: this roster is number 1"),
    "the other face's successor": (lambda first: first.draft(), "follows a number 1 .* that is not the one used here"),
    "an older one": (lambda first: first, "number 1, and number 2 has been used here: it is out of date"),
}


@pytest.mark.parametrize("case", NOT_NEXT)
def test_a_roster_that_may_not_follow_the_run_s_is_not_taken(bench, case):
    async def run() -> None:
        make, said = NOT_NEXT[case]
        federation = bench.federation
        operations = bench.operations()
        used = federation.roster
        if case == "an older one":
            used = used.draft().signed(federation.coordinator)
        await operations.handle(bench.submission(roster=used))
        first = federation.roster.model_copy(update={"consortium": "another"}).signed(federation.coordinator)
        before = (bench.server.runs / "r1" / "roster.json").read_bytes()
        other = make(first).signed(federation.coordinator)
        with pytest.raises(DeploymentError, match=f"run 'r1': .*{said}"):
            await operations.handle(UseRoster(run="r1", roster=other.model_dump_json()))
        assert (bench.server.runs / "r1" / "roster.json").read_bytes() == before
        await operations.pause_runs()

    asyncio.run(run())


def test_an_expired_roster_is_not_taken(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        at = datetime(2020, 1, 1, tzinfo=UTC)
        expired = bench.federation.roster.draft().signed(bench.federation.coordinator, at=at)
        with pytest.raises(DeploymentError, match="the roster expired 2020-12-31T00:00:00Z: have the coordinator sign"):
            await operations.handle(UseRoster(run="r1", roster=expired.model_dump_json()))
        with pytest.raises(DeploymentError, match="the roster expired 2020-12-31T00:00:00Z: have the coordinator sign"):
            await operations.handle(bench.submission(name="r2", roster=expired))
        await operations.pause_runs()

    asyncio.run(run())


def test_a_submission_does_not_take_the_place_of_a_site_that_is_registered(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission())
        known = dict(bench.superlink.known)
        other = FleetFederation(RECIPE, 3, bench.identity.public_key).roster  # the same names, other keys
        with pytest.raises(DeploymentError, match="site 'site-0' is registered with another node key: if it has a new"):
            await operations.handle(bench.submission(name="r2", roster=other))
        assert bench.superlink.known == known
        assert not (bench.server.runs / "r2").exists()
        await operations.pause_runs()

    asyncio.run(run())


def test_sites_are_registered_and_withdrawn_one_by_one(bench):
    async def run() -> None:
        operations = bench.operations()
        nodes = {site.name: site.node_key for site in bench.federation.sites}
        await operations.handle(Register(nodes=nodes))
        assert [site.name for site in await operations.sites()] == ["site-0", "site-1", "site-2"]
        await operations.handle(Unregister(site="site-1"))
        assert sorted(bench.superlink.known.values()) == ["site-0", "site-2"]
        assert sorted(NodeList.load(bench.server.nodes).nodes) == ["site-0", "site-2"]
        bench.superlink.known.clear()
        await operations.restore_nodes()
        assert sorted(bench.superlink.known.values()) == ["site-0", "site-2"]

    asyncio.run(run())


def test_what_is_not_there_is_named(bench):
    async def run() -> None:
        operations = bench.operations()
        for request in (Stop(run="r9"), Resume(run="r9"), UseRoster(run="r9", roster="{}")):
            with pytest.raises(DeploymentError, match="there is no run 'r9': see `sealora server status`"):
                await operations.handle(request)
        with pytest.raises(DeploymentError, match="not a roster"):
            await operations.handle(bench.submission(roster=Operation(condition="failed")))

    asyncio.run(run())


def test_the_state_that_is_kept_is_small_and_plain(bench):
    Operation(condition="failed", said="why").save(bench.server.runs)
    assert json.loads((bench.server.runs / "operation.json").read_text()) == {"condition": "failed", "said": "why"}
