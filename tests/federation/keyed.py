"""A federation in miniature whose nodes have keys, as a deployment's have, and whose server is this process.

    run = keyed_run(tmp_path, base, rounds=2)
    grid = KeyedGridInline.over(run)
    serve(grid, run)

So a run's adapter is delivered at its end, as it is to real sites. `grid.answers` may put another answer, or another
message, in the place of one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from flwr.app import Message
from flwr.app.user_config import UserConfig
from flwr.supercore.object_ref import load_app

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import SealoraError
from sealora_common.identity import Identity
from sealora_common.identity.card import create_node_key
from sealora_common.records.names import SITE_DIRECTORY, SITES
from sealora_common.roster import Member, Roster
from sealora_server.node_keys import NodeSession, sites_by_node_key
from sealora_server.simulation.inline import InlineGrid
from sealora_server.simulation.sites import CLIENT_APP

from tiny_federation import prepare_run, write_federation

COORDINATOR = "coordinator.pem"
"""In the run's directory: the key that signed its roster."""
Answer = Callable[[str, str, Message], Message | None]
"""(site, action, message) -> the answer; None lets the site answer."""


def keyed_run(directory: Path, base: Path, **sections: Any) -> Path:
    """Prepares a run whose roster names node keys; returns its directory, in which the sites' lie."""
    run = directory / "run"
    simulated = prepare_run(write_federation(directory / "data", base, **sections), run)
    coordinator = Identity.create("coordinator", SystemEntropy())
    homes = {name: run / SITES / name for name in simulated.names}
    members = tuple(
        Member(
            name=member.name, public_key=member.public_key, node_key=create_node_key(homes[member.name] / "node.key")
        )
        for member in simulated.members
    )
    keys = {"coordinator": coordinator.public_key_text, "server": simulated.server}
    roster = Roster(consortium="keyed", members=members, **keys).signed(coordinator)
    coordinator.save(run / COORDINATOR)
    for place in (run, *homes.values()):
        roster.save(place / "roster.json")
    for home in homes.values():
        described = yaml.safe_load((home / "site.yaml").read_text()) | {"coordinator": coordinator.pin}
        (home / "site.yaml").write_text(yaml.safe_dump(described))
    return run


class KeyedGridInline(InlineGrid):
    """An inline grid that tells whose its nodes are."""

    answers: Answer = staticmethod(lambda site, action, message: None)  # type: ignore[assignment]

    @classmethod
    def over(cls, run: Path, answers: Answer | None = None) -> KeyedGridInline:
        """The grid of a prepared run."""
        keys = {name: key for key, name in sites_by_node_key(Roster.load(run / "roster.json")).items()}
        nodes: list[UserConfig] = [{SITE_DIRECTORY: str(run / SITES / name)} for name in sorted(keys)]
        grid = cls(load_app(CLIENT_APP, SealoraError), nodes)
        grid.keys = keys
        grid.asked: list[tuple[str, str]] = []  # type: ignore[misc]
        if answers is not None:
            grid.answers = answers  # type: ignore[method-assign]
        return grid

    def node_sessions(self) -> dict[int, NodeSession]:
        return {node: NodeSession(self.keys[self.site_of(node)], "now") for node in self._contexts}

    def site_of(self, node_id: int) -> str:
        return Path(str(self._contexts[node_id].node_config[SITE_DIRECTORY])).name

    def _deliver(self, message: Message) -> Message:
        site, action = self.site_of(message.metadata.dst_node_id), message.metadata.message_type
        self.asked.append((site, action))
        return self.answers(site, action, message) or super()._deliver(message)
