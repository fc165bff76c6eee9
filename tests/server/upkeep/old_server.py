"""A server's directory with two runs of pure sites: one is finished, one was stopped after its first round."""

from __future__ import annotations

import contextlib
from pathlib import Path

from sealora_common.identity import Identity
from sealora_server.deployment.directory import ServerDirectory
from sealora_server.deployment.initialise import initialise
from sealora_server.deployment.nodes import NodeList
from sealora_server.deployment.runs.submission import Operation
from sealora_server.run.rounds import run_rounds
from sealora_server.run.store import RunStore

from pure_sites import PureGrid, pure_federation, pure_recipe

ROUNDS = 3


class OldServer:
    """The directory, and its runs' sites."""

    def __init__(self, directory: Path) -> None:
        self.server, self.identity = initialise(directory, ["localhost"], listen="127.0.0.1:0")
        self.rosters = {}
        self.add("done")
        self.add("half", stop_after=1)
        NodeList().save(self.server.nodes)

    def add(self, name: str, stop_after: int | None = None) -> None:
        recipe = pure_recipe(name=name, rounds=ROUNDS, server={"optimizer": "fedadam"})
        directory = self.server.runs / name
        store = RunStore.create(directory, recipe, server_key="../../identity.pem")
        roster, sites = pure_federation(recipe, 3, server=self.identity)
        roster.save(directory / "roster.json")
        self.rosters[name] = roster

        def after_round() -> None:
            if store.finished_rounds == stop_after:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            run_rounds(PureGrid(sites), store, roster, after_round=after_round)
        Operation(condition="finished" if store.is_finished else "stopped").save(directory)


def files_of(directory: Path) -> dict[str, bytes]:
    """Content of every file by its path, but for locks."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def server_at(directory: Path) -> ServerDirectory:
    return ServerDirectory(directory / "server.yaml")


def identity_of(server: ServerDirectory) -> Identity:
    return Identity.load("server", server.identity)
