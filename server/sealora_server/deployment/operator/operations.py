"""What an operator's requests do: runs are made, stopped and resumed, and sites' node keys let in and withdrawn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from sealora_common.config import from_json
from sealora_common.errors import SealoraError, UnreadableError
from sealora_common.recipe.load import parse_recipe
from sealora_common.records.event_log import read_events
from sealora_common.records.fold import fold
from sealora_common.records.names import EVENTS
from sealora_common.records.run_state import RunState
from sealora_common.roster import Roster
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.nodes import NodeList, nodes_of, reconcile
from sealora_server.deployment.operator.messages import (
    Act,
    Approve,
    Delete,
    Done,
    Refuse,
    Register,
    Resume,
    RunStatus,
    SiteStatus,
    Stop,
    Submit,
    Unregister,
    UseRoster,
)
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.runs.approving import require_approver
from sealora_server.deployment.runs.host import RunHost
from sealora_server.deployment.runs.managed import ManagedRun
from sealora_server.deployment.runs.queue import Wanted, ahead_of, next_place, ready_to_begin
from sealora_server.deployment.runs.submission import check_submission, create_run
from sealora_server.deployment.superlink.client import Node
from sealora_server.run.starting_adapter import agreed_start
from sealora_server.upkeep.deletion import delete_run, finish_deletions

log = logging.getLogger(__name__)

_FILES = ("operation.json", "run.json", "recipe.yaml", EVENTS)
"""A directory with one of these is a run's."""


class Operations:
    """The runs and the sites of a running server.

    Args:
        host: the server around them.
        server_key: the public key of its identity.
    """

    def __init__(self, host: RunHost, server_key: bytes) -> None:
        self._host = host
        self._server_key = server_key
        self._approval = host.server.config.approval
        self._changing_nodes = asyncio.Lock()
        self._deleting = asyncio.Lock()
        self.runs: dict[str, ManagedRun] = {}
        self.node_problem: str | None = None
        """Why the SuperLink is not in line with `nodes.json`."""
        self._damaged: dict[str, str] = {}
        """Runs of which nothing can be made, and why."""
        finish_deletions(host.server.runs)
        self._look_for_runs()

    async def handle(self, request: Act, person: Person) -> Done:
        """Does what `person` asks.

        Raises:
            SealoraError: it cannot be done; the sentence says why.
        """
        match request:
            case Submit():
                await self._submit(request, person)
            case Stop():
                await self._run(request.run).stop(person)
            case Resume():
                await self._resume(request, person)
            case Approve():
                await self._approve(request, person)
            case Refuse():
                require_approver(self._approval, person)
                self._run(request.run).refuse(person)
            case Delete():
                await self._delete(request.run)
            case UseRoster():
                await self._use_roster(request, person)
            case Register():
                await self._change_nodes(lambda nodes: nodes.with_nodes(request.nodes))
            case Unregister():
                await self._change_nodes(lambda nodes: nodes.without(request.site))
            case _:
                raise DeploymentError(f"{request.action}: not an operation")
        self.begin_those_whose_turn_it_is()
        return Done()

    def begin_those_whose_turn_it_is(self) -> None:
        """Starts the runs in line that wait for no other any more."""
        for name in ready_to_begin(self._wanted()):
            try:
                self.runs[name].begin()
            except SealoraError as error:  # a full disk, say: it stays in line
                log.error("run %s: its turn has come, but %s", name, error)

    def statuses(self, offline: frozenset[str]) -> tuple[RunStatus, ...]:
        """Every run that has a directory, also one that cannot be read; `offline` as for `ManagedRun.status`."""
        for run in self._look_for_runs():
            log.info("run %s can be read again", run.name)
            run.start()
        wanted = self._wanted()
        ahead = {run.name: ahead_of(run.sites, wanted, run.place) for run in wanted}
        known = [run.status(offline, ahead.get(run.name, ())) for run in self.runs.values()]
        known += [_damaged_status(self._host.server.runs / name, said) for name, said in self._damaged.items()]
        return tuple(sorted(known, key=lambda status: status.name))

    def start_runs(self) -> None:
        """Goes on with every run that is wanted to run."""
        for run in self.runs.values():
            run.start()
        self.begin_those_whose_turn_it_is()

    def offer_adapters(self, nodes: Iterable[Node]) -> None:
        """Offers the adapters of finished runs to connected sites that lack them, of one run at a time.

        The one that has waited longest comes first, so that no run's sites keep the others waiting.
        """
        if any(run.condition == "finished" and run.is_at_work for run in self.runs.values()):
            return
        online = {node.name: node.since for node in nodes if node.registered and node.online}
        for run in sorted(self.runs.values(), key=lambda run: run.offered_at):
            if run.offer(online):
                return

    async def pause_runs(self) -> None:
        """Ends all runs' processes; they go on when the server is started again."""
        await asyncio.gather(*(run.pause() for run in self.runs.values()))

    async def restore_nodes(self) -> None:
        """Brings the SuperLink in line with `nodes.json`, whatever became of its database.

        Raises:
            DeploymentError: the SuperLink does not answer, or the file is damaged.
        """
        async with self._changing_nodes:
            self.node_problem = await asyncio.to_thread(reconcile, self._nodes(), self._host.superlink)
            if self.node_problem:
                log.error("%s", self.node_problem)

    async def sites(self) -> tuple[SiteStatus, ...]:
        """The registered sites.

        Raises:
            DeploymentError: the SuperLink does not answer.
        """
        nodes = await asyncio.to_thread(self._host.superlink.nodes)
        online = {node.name for node in nodes if node.registered and node.online}
        return tuple(SiteStatus(name=name, online=name in online) for name in sorted(self._nodes().nodes))

    async def _submit(self, request: Submit, person: Person) -> None:
        recipe = parse_recipe(request.recipe)
        roster = _usable_roster(request.roster, datetime.now(UTC))
        added = nodes_of(roster)
        _with_kept(self._nodes(), added)
        directory = self._host.server.runs / request.name
        check_submission(directory, recipe, roster, self._server_key)
        named = None if request.continue_from is None else Path(request.continue_from)
        start = await asyncio.to_thread(agreed_start, named, recipe)
        waits = self._approval.required
        if not waits:  # else its sites may connect once it is approved
            await self._change_nodes(lambda nodes: _with_kept(nodes, added))
        place = self._place_for(frozenset(roster.names))
        create_run(directory, recipe, roster, start, place=place, asked_by=person if waits else None)
        run = ManagedRun(self._host, directory)
        self.runs[run.name] = run
        run.acted("submit", person)
        run.start()

    async def _resume(self, request: Resume, person: Person) -> None:
        async with self._deleting:
            run = self._run(request.run)
            await run.resume(person, self._place_for(frozenset(run.state.roster)))

    async def _approve(self, request: Approve, person: Person) -> None:
        require_approver(self._approval, person)
        run = self._run(request.run)
        run.check_approval(person, request.digest)
        roster = _usable(Roster.load(run.directory / "roster.json"), datetime.now(UTC))
        added = nodes_of(roster)
        await self._change_nodes(lambda nodes: _with_kept(nodes, added))
        async with self._deleting:  # it looks again at all of it: another may have approved, refused or deleted the run
            self._run(request.run).approve(person, request.digest, self._place_for(frozenset(roster.names)))

    async def _delete(self, name: str) -> None:
        """Deletes a run; one that is damaged, too. What was begun and not done is done at the next start."""
        async with self._deleting:  # it is resumed by nobody meanwhile
            run = self.runs.get(name)
            if run is None and name not in self._damaged:
                self._run(name)
            if run is not None:
                if run.wanted is not None:
                    raise DeploymentError(f"run {name!r} is {run.condition}: stop it first")
                await run.pause()
            await asyncio.to_thread(delete_run, self._host.server.runs / name)
            self.runs.pop(name, None)
            self._damaged.pop(name, None)

    def _wanted(self) -> list[Wanted]:
        return [run.wanted for run in self.runs.values() if run.wanted is not None]

    def _place_for(self, sites: frozenset[str]) -> int:
        """Where a run among these sites goes: to the end of the line, or, if it waits for nobody, nowhere (0)."""
        wanted = self._wanted()
        return next_place(wanted) if ahead_of(sites, wanted) else 0

    async def _use_roster(self, request: UseRoster, person: Person) -> None:
        run = self._run(request.run)
        roster = _usable_roster(request.roster, datetime.now(UTC))
        run.check_roster(roster)
        added = nodes_of(roster)
        await self._change_nodes(lambda nodes: nodes.with_nodes(added))
        run.check_roster(roster)  # which may have been resumed meanwhile, or been given another
        run.use_roster(roster, person)

    async def _change_nodes(self, change: Callable[[NodeList], NodeList]) -> None:
        """Changes the list as it is when its turn has come: another change may have been made meanwhile."""
        async with self._changing_nodes:
            present = self._nodes()
            nodes = change(present)
            changes = nodes.changes_since(present)
            nodes.save(self._host.server.nodes)
            for said in changes:
                log.info("%s", said)
            self.node_problem = await asyncio.to_thread(reconcile, nodes, self._host.superlink)
        if self.node_problem:
            raise DeploymentError(self.node_problem)

    def _nodes(self) -> NodeList:
        return NodeList.load(self._host.server.nodes)

    def _run(self, name: str) -> ManagedRun:
        if name in self._damaged:
            raise DeploymentError(f"run {name!r} is damaged: {self._damaged[name]}")
        if name not in self.runs:
            raise DeploymentError(f"there is no run {name!r}: see `sealora server status` for those there are")
        return self.runs[name]

    def _look_for_runs(self) -> list[ManagedRun]:
        """Takes in the runs whose directories are there and that are not known yet; returns those."""
        found = []
        for directory in sorted(self._host.server.runs.glob("*")):
            name = directory.name
            if name.startswith(".") or name in self.runs or not any((directory / file).exists() for file in _FILES):
                continue
            try:
                run = ManagedRun(self._host, directory)
            except SealoraError as error:
                said = _why_damaged(directory, error)
                if self._damaged.get(name) != said:
                    log.error("run %s is damaged: %s", name, said)
                self._damaged[name] = said
            else:
                self._damaged.pop(name, None)
                self.runs[name] = run
                found.append(run)
        for name in [name for name in self._damaged if not (self._host.server.runs / name).is_dir()]:
            del self._damaged[name]
        return found


def _with_kept(nodes: NodeList, added: Mapping[str, str]) -> NodeList:
    """The list with a roster's nodes, none of which takes the place of another.

    Raises:
        DeploymentError: one would.
    """
    nodes.check_kept(added)
    return nodes.with_nodes(added)


def _why_damaged(directory: Path, error: SealoraError) -> str:
    path = directory / "run.json"
    return str(error) if path.exists() else f"{path} is missing: restore it from a backup, or delete {directory}"


def _damaged_status(directory: Path, said: str) -> RunStatus:
    """What can be told of a run that cannot be read: where it was stands in its events."""
    state = fold(RunState(), read_events(directory / EVENTS))
    return RunStatus(
        name=directory.name,
        condition="damaged",
        said=said,
        finished_rounds=state.rounds_finished,
        rounds=state.planned_rounds,
    )


def _usable_roster(text: str, at: datetime) -> Roster:
    try:
        roster = from_json(Roster, text)
    except UnreadableError:
        raise DeploymentError("not a roster: ask the coordinator for it") from None
    return _usable(roster, at)


def _usable(roster: Roster, at: datetime) -> Roster:
    if not roster.is_signed:
        raise DeploymentError("the coordinator's signature on the roster does not hold: do not use it")
    if roster.has_expired(at):
        raise DeploymentError(f"the roster expired {roster.expires}: have the coordinator sign it anew")
    return roster
