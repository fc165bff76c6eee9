"""Which Flower nodes are which sites, and the adapter layout they all agree on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from flwr.app import RecordDict
from flwr.serverapp import Grid

from sealora_common.adapter import AdapterLayout
from sealora_common.errors import FederationError
from sealora_common.recipe import Recipe
from sealora_common.records.events import TurnedAway
from sealora_common.roster import Roster
from sealora_common.round.hello import Hello
from sealora_common.round.wire_format import PAYLOAD, RECIPE_HASH, RUN, Action
from sealora_common.round.wire_format import field as wire_field
from sealora_common.secagg import threshold_for
from sealora_server.node_keys import KeyedGrid, sites_by_node_key
from sealora_server.run.blame import left_out
from sealora_server.run.exchange import broadcast, exchange, one_line

_MOST_REASONS_IN_A_SENTENCE = 8
_OTHER_LAYOUT = "it has another base model: its adapter has other tensors"


@dataclass
class Enrolment:
    """The sites that are connected now.

    Attributes:
        run_id: the run's identifier, which every greeting carries: a site judges the run as a whole when it is
            greeted, and must not count twice what this run has been charged before.
        blamed: names the sites that take no part any more, since they broke the sealing protocol.
        finished_rounds: how many of the run's rounds are finished.
        sites: node id -> site name. A name is what the node says; only its signature in a round proves it.
        layout: the adapter's layout, once the first sites have come: what most of them say.
        refusals: node id -> who takes no part, and why.
        receipts: node id -> how many of the run's receipts its site has, as far as it has said.
    """

    grid: Grid
    recipe: Recipe
    roster: Roster
    run_id: str
    blamed: Callable[[], tuple[str, ...]] = tuple
    finished_rounds: Callable[[], int] | None = None
    sites: dict[int, str] = field(default_factory=dict)
    layout: AdapterLayout | None = None
    refusals: dict[int, TurnedAway] = field(default_factory=dict)
    receipts: dict[int, int] = field(default_factory=dict)
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
        self.refusals = {node: refusal for node, refusal in self.refusals.items() if node in self._silent}
        started = time.monotonic()
        needed = self.needed
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
            raise FederationError(
                f"{len(self.sites)} of at least {needed} sites are ready after {time.monotonic() - started:.0f} s "
                f"({self._absence}): {self._remedy}, then resume the run"
            )
        return self.layout

    @property
    def ready(self) -> tuple[str, ...]:
        """The sites that take part."""
        return tuple(sorted(self.sites.values()))

    @property
    def turned_away(self) -> tuple[TurnedAway, ...]:
        """The connected nodes that take no part, but for those whose site has come back as another node and does."""
        left = [refusal for refusal in self.refusals.values() if refusal.site not in self.ready]
        return tuple(sorted(left, key=lambda refusal: (refusal.site or "", refusal.node)))

    @property
    def missing(self) -> tuple[str, ...]:
        """The roster's sites that are neither ready nor known to have been turned away."""
        return tuple(sorted(set(self.roster.names) - {*self.ready, *(refusal.site for refusal in self.turned_away)}))

    @property
    def needed(self) -> int:
        """How many sites must be ready: as many as can open a sum, and as the recipe demands."""
        sealing = self.recipe.sealing
        threshold = threshold_for(len(self.roster), sealing.adversary)
        return max(self.recipe.sites.minimum, sealing.min_survivors, threshold)

    @property
    def _absence(self) -> str:
        names = ", ".join(sorted(set(self.roster.names) - set(self.ready))) or "none"
        away = self.turned_away
        reasons = [f"; {refusal.name}: {refusal.reason}" for refusal in away[:_MOST_REASONS_IN_A_SENTENCE]]
        more = len(away) - len(reasons)
        return f"missing: {names}{''.join(reasons)}{f'; and {more} more' if more else ''}"

    @property
    def _remedy(self) -> str:
        if not self.turned_away:
            return "start the missing sites"
        return "mend what keeps them away" if not self.missing else "start them, or mend what keeps them away"

    def refresh(self) -> None:
        """Greets the nodes that are new, forgets those that are gone, and turns away those that are to blame."""
        connected = self._connected()
        blamed = self.blamed()
        for node in [node for node, name in self.sites.items() if name in blamed]:
            name = self.sites.pop(node)
            self._turn_away(node, str(left_out(name)), name)
        self.sites = {node_id: name for node_id, name in self.sites.items() if node_id in connected}
        self.refusals = {node_id: refusal for node_id, refusal in self.refusals.items() if node_id in connected}
        new = connected - set(self.sites) - set(self.refusals)
        if new:
            about = {
                RUN: self.run_id.encode(),
                RECIPE_HASH: self.recipe.hash.encode(),
                "roster_hash": self.roster.hash,
            }
            self._silent |= exchange(
                self.grid,
                Action.HELLO,
                broadcast(new, **about),
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

    def _welcome(self, node_id: int, content: RecordDict) -> None:
        said = None
        try:
            hello = Hello.parse(wire_field(content, PAYLOAD))
            said = hello.site
            self._check(hello, self._owners.get(node_id, said))
        except FederationError as error:
            self._turn_away(node_id, str(error), said)
            return
        for earlier in [node for node, name in self.sites.items() if name == hello.site]:
            del self.sites[earlier]  # a site that crashed comes back as a new node
        self.sites[node_id] = hello.site
        self._told[node_id] = hello.adapter_layout
        self.receipts[node_id] = hello.receipts

    def _check(self, hello: Hello, owner: str) -> None:
        if hello.site != owner:
            raise FederationError(f"its node calls itself {hello.site!r}: give it its own identity")
        if hello.site not in self.roster.names:
            raise FederationError(f"it calls itself {hello.site!r}, which is not on the roster")
        if hello.site in self.blamed():
            raise left_out(hello.site)
        if (hello.recipe_hash, hello.roster_hash) != (self.recipe.hash, self.roster.hash.hex()):
            raise FederationError("it has another recipe or roster: give it this run's")
        finished = self.recipe.rounds if self.finished_rounds is None else self.finished_rounds()
        # More than the recipe has rounds is a lie, which does no harm (`catching_up`).
        if finished < hello.receipts <= self.recipe.rounds:
            raise FederationError(
                f"it has receipts of {hello.receipts} rounds of this run, and this server of {finished}: the "
                "server was put back to an older state: restore a newer backup, or start a new run that goes on "
                "with this one's adapter (--continue-from)"
            )
        if self.layout is not None and hello.adapter_layout != self.layout:
            raise FederationError(_OTHER_LAYOUT)

    def _agree_on_layout(self) -> None:
        """Takes the layout that most sites told: one site with a wrong model must not turn all others away."""
        told = {node: self._told[node] for node in self.sites}
        if not told:
            return
        self.layout = Counter(told.values()).most_common(1)[0][0]
        for node in [node for node, layout in told.items() if layout != self.layout]:
            self._turn_away(node, _OTHER_LAYOUT, self.sites.pop(node))

    def _turn_away(self, node_id: int, reason: str, said: str | None = None) -> None:
        """Notes who takes no part. The name is the key's owner, or, where nodes have no keys, what the node says."""
        named = said if said in self.roster.names else None
        site = self._owners.get(node_id, named)
        self.refusals[node_id] = TurnedAway(site=site, node=node_id, reason=one_line(reason))

    def _nobody_else_can_come(self) -> bool:
        # A node that refused stays refused until it reconnects under a new id; with all nodes accounted for and
        # none missing from the roster's count, waiting longer changes nothing.
        return len(self.sites) + len(self.refusals) >= len(self.roster)
