"""A site's directory as it is when everything is in place: keys, a roster that lists them, recipe, policy, records."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from sealora_common.entropy import SystemEntropy
from sealora_common.identity import Identity
from sealora_common.identity.card import create_node_key
from sealora_common.roster import Member, Roster

from tiny_federation import PRIVATE, prepare_run, write_federation


class EnrolledSite:
    """`site-0` of a federation of three, with a coordinator whose key the test has.

    Attributes:
        directory: the site's.
        coordinator: who signs its roster.
    """

    def __init__(self, directory: Path, base: Path, server: str | None, **sections: dict[str, Any]) -> None:
        run = directory / "run"
        roster = prepare_run(write_federation(directory, base, **({"privacy": PRIVATE} | sections)), run)
        self.directory = directory / "site"
        shutil.copytree(run / "sites" / "site-0", self.directory)
        self.coordinator = Identity.create("coordinator", SystemEntropy())
        node_key = create_node_key(self.directory / "node.key")
        members = tuple(
            member.model_copy(update={"node_key": node_key if member.name == "site-0" else None})
            for member in roster.members
        )
        self.sign(roster.model_copy(update={"members": members, "coordinator": self.coordinator.public_key_text}))
        self.configure(coordinator=self.coordinator.pin, server=server, health=None)

    @property
    def config(self) -> Path:
        return self.directory / "site.yaml"

    @property
    def roster(self) -> Roster:
        return Roster.load(self.directory / "roster.json")

    def sign(self, roster: Roster) -> None:
        """Puts a roster in place, signed by the coordinator, as the next after the one that is there."""
        present = self.roster
        if present.coordinator_pin == self.coordinator.pin:
            roster = roster.model_copy(update={"sequence": present.sequence + 1, "previous": present.hash.hex()})
        roster.signed(self.coordinator).save(self.directory / "roster.json")

    def list_as(self, **keys: str | None) -> None:
        """Changes what the roster says of this site."""
        roster = self.roster
        member = roster.members[0].model_copy(update=keys)
        self.sign(roster.model_copy(update={"members": (Member(**member.model_dump()), *roster.members[1:])}))

    def configure(self, **changes: Any) -> None:
        """Changes lines of site.yaml."""
        self._change("site.yaml", changes)

    def decide(self, **changes: Any) -> None:
        """Changes lines of policy.yaml."""
        self._change("policy.yaml", changes)

    def agree(self, section: str, **changes: Any) -> None:
        """Changes a section of recipe.yaml."""
        path = self.directory / "recipe.yaml"
        recipe = yaml.safe_load(path.read_text())
        recipe[section] |= changes
        path.write_text(yaml.safe_dump(recipe))

    def _change(self, file: str, changes: dict[str, Any]) -> None:
        path = self.directory / file
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
