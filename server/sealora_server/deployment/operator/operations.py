"""What an operator's requests do: runs are made, stopped and resumed, and sites' node keys let in and withdrawn."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path

from sealora_common.config import from_json
from sealora_common.errors import SealoraError, UnreadableError
from sealora_common.recipe.load import parse_recipe
from sealora_common.roster import Roster
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.nodes import NodeList, nodes_of, reconcile
from sealora_server.deployment.operator.messages import (
    Done,
    Register,
    Request,
    Resume,
    SiteStatus,
    Stop,
    Submit,
    Unregister,
    UseRoster,
)
from sealora_server.deployment.runs.managed import ManagedRun, RunHost
from sealora_server.deployment.runs.submission import check_submission, create_run
from sealora_server.run.starting_adapter import agreed_start

log = logging.getLogger(__name__)


class Operations:
    """The runs and the sites of a running server.

    Args:
        host: the server around them.
        server_key: the public key of its identity.
    """

    def __init__(self, host: RunHost, server_key: bytes) -> None:
        self._host = host
        self._server_key = server_key
        self._changing_nodes = asyncio.Lock()
        self.runs: dict[str, ManagedRun] = {}
        self.node_problem: str | None = None
        """Why the SuperLink is not in line with `nodes.json`."""
        self._load_runs()

    async def handle(self, request: Request, account: str) -> Done:
        """Does what `account`, of this machine, asks.

        Raises:
            SealoraError: it cannot be done; the sentence says why.
        """
        match request:
            case Submit():
                await self._submit(request, account)
            case Stop():
                await self._run(request.run).stop(account)
            case Resume():
                await self._run(request.run).resume(account)
            case UseRoster():
                await self._use_roster(request, account)
            case Register():
                await self._change_nodes(self._nodes().with_nodes(request.nodes))
            case Unregister():
                await self._change_nodes(self._nodes().without(request.site))
            case _:
                raise DeploymentError(f"{request.action}: not an operation")
        return Done()

    def start_runs(self) -> None:
        """Goes on with every run that is wanted to run."""
        for run in self.runs.values():
            run.start()

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

    async def _submit(self, request: Submit, account: str) -> None:
        recipe = parse_recipe(request.recipe)
        roster = _usable_roster(request.roster, datetime.now(UTC))
        added = nodes_of(roster)
        nodes = self._nodes()
        nodes.check_kept(added)
        nodes = nodes.with_nodes(added)
        directory = self._host.server.runs / request.name
        check_submission(directory, recipe, roster, self._server_key)
        named = None if request.continue_from is None else Path(request.continue_from)
        start = await asyncio.to_thread(agreed_start, named, recipe)
        await self._change_nodes(nodes)
        create_run(directory, recipe, roster, start)
        run = ManagedRun(self._host, directory)
        self.runs[run.name] = run
        run.acted("submit", account)
        run.start()

    async def _use_roster(self, request: UseRoster, account: str) -> None:
        run = self._run(request.run)
        roster = _usable_roster(request.roster, datetime.now(UTC))
        run.check_roster(roster)
        await self._change_nodes(self._nodes().with_nodes(nodes_of(roster)))
        run.use_roster(roster, account)

    async def _change_nodes(self, nodes: NodeList) -> None:
        async with self._changing_nodes:
            changes = nodes.changes_since(self._nodes())
            nodes.save(self._host.server.nodes)
            for change in changes:
                log.info("%s", change)
            self.node_problem = await asyncio.to_thread(reconcile, nodes, self._host.superlink)
        if self.node_problem:
            raise DeploymentError(self.node_problem)

    def _nodes(self) -> NodeList:
        return NodeList.load(self._host.server.nodes)

    def _run(self, name: str) -> ManagedRun:
        if name not in self.runs:
            raise DeploymentError(f"there is no run {name!r}: see `sealora server status` for those there are")
        return self.runs[name]

    def _load_runs(self) -> None:
        for directory in sorted(self._host.server.runs.glob("*/operation.json")):
            try:
                run = ManagedRun(self._host, directory.parent)
            except SealoraError as error:
                log.error("run %s is left alone: %s", directory.parent.name, error)
            else:
                self.runs[run.name] = run


def _usable_roster(text: str, at: datetime) -> Roster:
    try:
        roster = from_json(Roster, text)
    except UnreadableError:
        raise DeploymentError("not a roster: ask the coordinator for it") from None
    if not roster.is_signed:
        raise DeploymentError("the coordinator's signature on the roster does not hold: do not use it")
    if roster.has_expired(at):
        raise DeploymentError(f"the roster expired {roster.expires}: have the coordinator sign it anew")
    return roster
