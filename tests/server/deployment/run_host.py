"""A server's operations, with a SuperLink and ServerApps that do what a test says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml
from fleet_sites import FleetFederation

from sealora_common.identity import Identity
from sealora_common.roster import Roster
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import Submit
from sealora_server.deployment.operator.operations import Operations
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.processes.restarts import RestartPolicy
from sealora_server.deployment.runs.host import RunHost
from sealora_server.deployment.runs.serverapp_process import Outcome
from sealora_server.deployment.runs.submission import Operation
from sealora_server.deployment.superlink.client import Node

from pure_sites import pure_recipe

RECIPE = pure_recipe(model={"base": "none", "digest": "0" * 64})
SECONDS = 10.0
ADA = Person.of_account("ada")
"""Who asks, unless a test is about that."""


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

    def __init__(self, server: ServerDirectory, superlink: FakeSuperLink) -> None:
        self.server = server
        self.superlink = superlink
        self.processes: list[FakeProcess] = []
        self.identity = Identity.load("server", server.identity)
        self.federation = FleetFederation(RECIPE, 3, self.identity.public_key)

    def operations(self) -> Operations:
        host = RunHost(
            self.server,
            os.getpid(),
            self.superlink,
            asyncio.Lock(),
            lines=lambda name, line: None,
            start=self._start,
            policy=partial(RestartPolicy, first_delay=0.001),
        )
        return Operations(host, self.identity.public_key)

    async def _start(self, spec: Any, lines: Any) -> FakeProcess:
        self.processes.append(FakeProcess(spec))
        return self.processes[-1]

    def submission(self, **changes: Any) -> Submit:
        recipe = yaml.safe_dump(changes.pop("recipe", RECIPE).model_dump(mode="json"))
        roster = changes.pop("roster", self.federation.roster).model_dump_json()
        return Submit(**{"name": "r1", "recipe": recipe, "roster": roster, **changes})

    def elsewhere(self, prefix: str = "other") -> Roster:
        """A roster of three sites of their own, whose runs wait for nobody here."""
        federation = FleetFederation(RECIPE, 3, self.identity.public_key)
        members = tuple(
            member.model_copy(update={"name": member.name.replace("site", prefix)})
            for member in federation.roster.members
        )
        unsigned = federation.roster.model_copy(update={"members": members, "signature": ""})
        return unsigned.signed(federation.coordinator)

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
