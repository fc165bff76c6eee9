"""Gives a run's final adapter to its sites that are connected, each as long as it has not said that it has it.

First a site is asked what it holds; then it is sent the adapter, how the run ended, and the receipts that it lacks. It
refuses what its receipts do not name. A run is over whether or not a site takes it: who is away, or refuses, is offered
it again later.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from sealora_common.errors import FederationError, SealoraError
from sealora_common.receipts.conclusion import Conclusion
from sealora_common.records.events import AdapterDelivered, DeliveryFailed
from sealora_common.roster import Roster
from sealora_common.round.holding import Holding
from sealora_common.round.wire_format import (
    ADAPTER,
    ARRAYS,
    CONCLUSION,
    CONFIG,
    LAYOUT,
    PAYLOAD,
    RUN,
    Action,
)
from sealora_common.round.wire_format import field as wire_field
from sealora_server.delivery.final_adapter import FinalAdapter
from sealora_server.node_keys import KeyedGrid, sites_by_node_key
from sealora_server.run.catching_up import lacking
from sealora_server.run.exchange import broadcast, exchange
from sealora_server.run.kept_receipts import KeptReceipts
from sealora_server.run.store import RunStore

_LONGEST_SECONDS = 120.0
"""A site that is at work in another run answers when it is done; who has not by then is offered it again later."""

log = logging.getLogger(__name__)


def deliver(grid: Grid, store: RunStore, roster: Roster) -> None:
    """Offers the final adapter to every connected site of the roster that has not taken it. Nothing of it fails a run.

    In a simulation, whose nodes have no keys, there is nothing to give: all of it lies on one machine.

    Args:
        grid: where the sites' nodes are.
        store: of a run that has come to its end.
        roster: the run's last one.
    """
    if not isinstance(grid, KeyedGrid):
        return
    try:
        final = FinalAdapter(store)
        if not final.is_deliverable:
            return
        members, delivered = sites_by_node_key(roster), final.delivered
        nodes = {node: members[each.key] for node, each in grid.node_sessions().items() if each.key in members}
        owed = {node: site for node, site in nodes.items() if site not in delivered}
        if owed:
            conclusion = final.conclusion()
            _Delivery(grid, store, roster, final, conclusion, final.vector(conclusion), owed).run()
    except SealoraError as error:
        log.error("run %s: its adapter is not delivered: %s", store.directory.name, error)


@dataclass
class _Delivery:
    grid: Grid
    store: RunStore
    roster: Roster
    final: FinalAdapter
    conclusion: Conclusion
    vector: NDArray[np.float32]
    sites: Mapping[int, str]
    """By node, of those that are offered it."""
    held: dict[int, int] = field(default_factory=dict)
    """How many receipts each site has of those that lack the adapter."""

    def run(self) -> None:
        asked = broadcast(self.sites, **{RUN: self.conclusion.run.encode()})
        self._exchange(Action.HELD, asked)
        adapter = ArrayRecord({ADAPTER: Array(self.vector)})  # once, for all of them
        offers = {node: self._content(adapter, held) for node, held in sorted(self.held.items())}
        self._exchange(Action.DELIVER, offers)

    def _exchange(self, action: Action, requests: Mapping[int, RecordDict]) -> None:
        if requests:
            sites = self.store.recipe.sites
            timeout = min(sites.training_timeout, _LONGEST_SECONDS)
            exchange(self.grid, action, requests, timeout=timeout, on_reply=self._take, on_error=self._failed)

    def _take(self, node: int, content: RecordDict) -> None:
        try:
            holding = Holding.parse(wire_field(content, PAYLOAD))
        except FederationError as error:
            self._failed(node, str(error))
            return
        if holding.run == self.conclusion.run and holding.adapter_digest == self.conclusion.adapter_digest:
            self.held.pop(node, None)
            self.final.note_delivered(self.sites[node])
            self.store.events.write(AdapterDelivered(site=self.sites[node]))
        elif node in self.held:
            self._failed(node, "it says that it has taken the adapter, and names another")
        else:
            self.held[node] = holding.receipts

    def _failed(self, node: int, reason: str) -> None:
        self.held.pop(node, None)
        self.store.events.write(DeliveryFailed(site=self.sites[node], reason=reason))

    @property
    def _receipts(self) -> KeptReceipts:
        return KeptReceipts(self.conclusion.rounds, self.store.receipt)

    def _content(self, adapter: ArrayRecord, held: int) -> RecordDict:
        told = lacking(self._receipts, held, self.store.rosters, self.roster)
        fields = {CONCLUSION: self.conclusion.to_bytes(), LAYOUT: self.final.layout_bytes, **told}
        return RecordDict({ARRAYS: adapter, CONFIG: ConfigRecord({**fields})})
