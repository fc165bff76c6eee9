"""Which Flower nodes are which sites, and the adapter layout they all agree on."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from flwr.app import RecordDict
from flwr.serverapp import Grid

from sealora_common.adapter import AdapterLayout
from sealora_common.errors import FederationError
from sealora_common.hello import Hello
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster
from sealora_common.secagg import threshold_for
from sealora_common.wire_format import PAYLOAD, Action
from sealora_common.wire_format import field as wire_field
from sealora_server.exchange import broadcast, exchange
from sealora_server.node_keys import KeyedGrid, sites_by_node_key


@dataclass
class Enrolment:
    """The sites that are connected now.

    Attributes:
        sites: node id -> site name. A name is what the node says; only its signature in a round proves it.
        layout: the adapter's layout, once the first sites have come: what most of them say.
        refusals: node id -> why the node takes no part.
    """

    grid: Grid
    recipe: Recipe
    roster: Roster
    sites: dict[int, str] = field(default_factory=dict)
    layout: AdapterLayout | None = None
    refusals: dict[int, str] = field(default_factory=dict)
    _told: dict[int, AdapterLayout] = field(default_factory=dict)
    _owners: dict[int, str] = field(default_factory=dict)
    _since: dict[int, str] = field(default_factory=dict)
    _silent: set[int] = field(default_factory=set)

    def take_roster(self, roster: Roster) -> None:
        """Takes a new roster: every node is greeted again, and one whose site is no longer listed is turned away."""
        self.roster = roster
        self.sites.clear()
        self.refusals.clear()
        self._told.clear()

    def wait(self) -> AdapterLayout:
        """Waits until enough sites are connected, for `sites.stage_timeout` at most.

        Enough is the whole roster the first time. Later, as many as can open a sum: a lost site stalls no round.

        Returns:
            The layout of the adapter.

        Raises:
            FederationError: too few sites to open a sum came in time.
        """
        # Who answered and was turned away may have mended it since; asking who was silent would cost the time again.
        self.refusals = {node: reason for node, reason in self.refusals.items() if node in self._silent}
        started = time.monotonic()
        needed = self._needed
        enough = len(self.roster) if self.layout is None else needed
        pause = 0.05
        while True:
            self.refresh()
            if len(self.sites) >= enough or time.monotonic() - started >= self.recipe.sites.stage_timeout:
                break
            if self._nobody_else_can_come():
                break
            time.sleep(pause)
            pause = min(2.0, pause * 2)
        if self.layout is None:
            self._agree_on_layout()
        if len(self.sites) < needed or self.layout is None:
            missing = ", ".join(sorted(set(self.roster.names) - set(self.sites.values()))) or "none"
            reasons = "".join(f"; {reason}" for reason in sorted(set(self.refusals.values())))
            raise FederationError(
                f"{len(self.sites)} of at least {needed} sites are ready after {time.monotonic() - started:.0f} s "
                f"(missing: {missing}{reasons}): start the missing sites, then resume the run"
            )
        return self.layout

    def refresh(self) -> None:
        """Greets the nodes that are new and forgets those that are gone."""
        connected = self._connected()
        self.sites = {node_id: name for node_id, name in self.sites.items() if node_id in connected}
        self.refusals = {node_id: reason for node_id, reason in self.refusals.items() if node_id in connected}
        new = connected - set(self.sites) - set(self.refusals)
        if new:
            self._silent |= exchange(
                self.grid,
                Action.HELLO,
                broadcast(new, recipe_hash=self.recipe.hash.encode(), roster_hash=self.roster.hash),
                timeout=self.recipe.sites.training_timeout,
                on_reply=self._welcome,
                on_error=self._turn_away,
            )

    def _connected(self) -> set[int]:
        """The nodes that are connected; where nodes authenticate, those alone whose key is a member's."""
        if not isinstance(self.grid, KeyedGrid):
            return set(self.grid.get_node_ids())
        members = sites_by_node_key(self.roster)
        sessions = {node: each for node, each in self.grid.node_sessions().items() if each.key in members}
        self._owners = {node: members[each.key] for node, each in sessions.items()}
        for node in [node for node, each in sessions.items() if self._since.get(node) != each.since]:
            self._forget(node)
        self._since = {node: each.since for node, each in sessions.items()}
        return set(sessions)

    def _forget(self, node_id: int) -> None:
        """Greets a node anew that has come back: it may have mended what it was turned away for."""
        self.sites.pop(node_id, None)
        self.refusals.pop(node_id, None)
        self._silent.discard(node_id)

    @property
    def _needed(self) -> int:
        sealing = self.recipe.sealing
        threshold = threshold_for(len(self.roster), sealing.adversary)
        return max(self.recipe.sites.minimum, sealing.min_survivors, threshold)

    def _welcome(self, node_id: int, content: RecordDict) -> None:
        try:
            hello = Hello.parse(wire_field(content, PAYLOAD))
            self._check(hello, self._owners.get(node_id, hello.site))
        except FederationError as error:
            self._turn_away(node_id, str(error))
            return
        for earlier in [node for node, name in self.sites.items() if name == hello.site]:
            del self.sites[earlier]  # a site that crashed comes back as a new node
        self.sites[node_id] = hello.site
        self._told[node_id] = hello.adapter_layout

    def _check(self, hello: Hello, owner: str) -> None:
        if hello.site != owner:
            raise FederationError(f"the node of site {owner!r} calls itself {hello.site!r}: it takes no part")
        if hello.site not in self.roster.names:
            raise FederationError(f"site {hello.site!r} is not on the roster: it takes no part")
        if (hello.recipe_hash, hello.roster_hash) != (self.recipe.hash, self.roster.hash.hex()):
            raise FederationError(f"site {hello.site!r} has another recipe or roster: give it this run's")
        if self.layout is not None and hello.adapter_layout != self.layout:
            raise FederationError(_other_layout(hello.site))

    def _agree_on_layout(self) -> None:
        """Takes the layout that most sites told: one site with a wrong model must not turn all others away."""
        told = {node: self._told[node] for node in self.sites}
        if not told:
            return
        self.layout = Counter(told.values()).most_common(1)[0][0]
        for node in [node for node, layout in told.items() if layout != self.layout]:
            self._turn_away(node, _other_layout(self.sites.pop(node)))

    def _turn_away(self, node_id: int, reason: str) -> None:
        self.refusals[node_id] = reason

    def _nobody_else_can_come(self) -> bool:
        # A node that refused stays refused until it reconnects under a new id; with all nodes accounted for and
        # none missing from the roster's count, waiting longer changes nothing.
        return len(self.sites) + len(self.refusals) >= len(self.roster)


def _other_layout(site: str) -> str:
    return f"site {site!r} has another base model: its adapter has other tensors"
