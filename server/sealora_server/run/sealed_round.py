"""The stages of one sealed round, from the order to the opened sums, of all groups of sites at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.errors import FederationError
from sealora_common.identity import Identity
from sealora_common.receipts.receipt import OpeningProof, Receipt
from sealora_common.recipe import Recipe
from sealora_common.records.event_log import EventLog
from sealora_common.records.events import SiteFailed, SiteReplied, Stage, StageName
from sealora_common.roster import Roster
from sealora_common.roster.book import RosterBook
from sealora_common.round.contribution import ContributionLayout, DamagedSumError, OpenedRound
from sealora_common.round.groups import fewest_groups, groups_of, require_confirmed
from sealora_common.round.order import RoundOrder, layout_of, terms_of
from sealora_common.round.robust_mean import combine_groups, pool_groups
from sealora_common.round.wire_format import (
    ADAPTER,
    ARRAYS,
    CONFIG,
    MASKED,
    ORDER,
    ORDER_SIGNATURE,
    PAYLOAD,
    Action,
    array_bytes,
    content_bytes,
)
from sealora_common.round.wire_format import field as wire_field
from sealora_common.secagg import ProtocolError, RoundTerms, ServerSession
from sealora_server.run.blame import Blame
from sealora_server.run.catching_up import lacking
from sealora_server.run.exchange import exchange
from sealora_server.run.suspects import OpenedGroup

T = TypeVar("T")


@dataclass(frozen=True)
class Federation:
    """What a round needs of the run it belongs to.

    Attributes:
        grid: where the sites' nodes are.
        sites: node id -> site name, of those that take part in the round.
        held: node id -> how many receipts the site has; the round notes who took its order.
        receipts: the run's so far.
    """

    grid: Grid
    recipe: Recipe
    roster: Roster
    layout: AdapterLayout
    sites: Mapping[int, str]
    held: dict[int, int]
    receipts: Sequence[Receipt]
    rosters: RosterBook
    server: Identity
    events: EventLog
    blame: Blame


@dataclass(frozen=True)
class _Group:
    """Sites that are sealed together: all of the roster, or one of the groups it is dealt into."""

    roster: Roster
    terms: RoundTerms
    contributions: ContributionLayout
    session: ServerSession


class _Requests(Mapping[int, RecordDict]):
    """What each node is asked, made when it is sent; `bytes_of` tells how large it was."""

    def __init__(self, nodes: tuple[int, ...], make: Callable[[int], RecordDict]) -> None:
        self._nodes = dict.fromkeys(nodes)
        self._make = make
        self.bytes_of: dict[int, int] = {}

    def __getitem__(self, node: int) -> RecordDict:
        if node not in self._nodes:
            raise KeyError(node)
        content = self._make(node)
        self.bytes_of[node] = content_bytes(content)
        return content

    def __iter__(self) -> Iterator[int]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)


@dataclass(frozen=True)
class SealedSum:
    """What came of a round that was opened.

    Attributes:
        order: what the sites consented to; its `attempt` says which one it was.
        opened: what the sum says; survivors are indices of the roster.
        adapter: the shared part of the global adapter as the sites' mean would have it, float32, shape (P,); after an
            evaluation it is what it was.
        survivors: their names.
        openings: what shows that the sites consented to the opening, for each group.
        sums: the groups that were opened, and whether each sum adds up.
    """

    order: RoundOrder
    opened: OpenedRound
    adapter: NDArray[np.float32]
    survivors: tuple[str, ...]
    openings: tuple[OpeningProof, ...]
    sums: tuple[OpenedGroup, ...]


class RoundFailedError(FederationError):
    """A round that nothing came of.

    Attributes:
        sums: the groups that were opened all the same, and whether each sum adds up.
        blamed: the sites that it showed to have broken the protocol.
    """

    def __init__(self, sentence: str, sums: tuple[OpenedGroup, ...], blamed: tuple[str, ...]) -> None:
        super().__init__(sentence)
        self.sums = sums
        self.blamed = blamed


def seal_round(federation: Federation, order: RoundOrder, current: NDArray[np.float32]) -> SealedSum:
    """One attempt of one round among the federation's sites.

    Sites that fail a stage are left out of the next, and so is a group with too few left.

    Args:
        federation: whose round it is.
        order: the order.
        current: the shared part of the global adapter, float32, shape (P,).

    Raises:
        RoundFailedError: too few sites were left, or a sum does not add up. The sentence says why, site by site.
    """
    return _SealedRound(federation, order, current).run()


class _SealedRound:
    def __init__(self, federation: Federation, order: RoundOrder, current: NDArray[np.float32]) -> None:
        self.federation = federation
        self.order = order
        self.current = current
        self.openings: list[OpeningProof] = []
        self.sums: list[OpenedGroup] = []
        self._groups = [self._group(roster) for roster in groups_of(order, federation.roster)]
        self._standing = self._groups
        self._group_of = {site: group for group in self._groups for site in group.roster.names}
        self._failures: dict[str, str] = {}

    def run(self) -> SealedSum:
        blamed: list[str] = []
        failure: FederationError | None = None
        try:
            opened = self._stages()
        except FederationError as error:
            failure = error
        finally:
            faults = [fault for group in self._groups for fault in group.session.faults]
            blame, roster = self.federation.blame, self.federation.roster
            blamed += [fault.name(roster) for fault in faults if blame.note(fault, roster)]
        if failure is not None:
            reasons = "".join(f"; {site}: {reason}" for site, reason in sorted(self._failures.items()))
            raise RoundFailedError(f"{failure}{reasons}", tuple(self.sums), tuple(blamed))
        return SealedSum(
            order=self.order,
            opened=opened,
            adapter=self._moved(opened),
            survivors=tuple(self.federation.roster.names[index] for index in opened.survivors),
            openings=tuple(self.openings),
            sums=tuple(self.sums),
        )

    def _moved(self, opened: OpenedRound) -> NDArray[np.float32]:
        if self.order.purpose != "train":
            return self.current
        layout, kind = self.federation.layout, adapter_kind(self.federation.recipe)
        trained = kind.trained(layout, self.order.round_number)
        return kind.shared(layout).add(self.current, trained, opened.mean_delta)

    def _group(self, roster: Roster) -> _Group:
        recipe = self.federation.recipe
        contributions = layout_of(self.order, recipe, roster, self.federation.layout)
        terms = terms_of(self.order, recipe, roster, contributions)
        return _Group(roster, terms, contributions, ServerSession(terms, roster, self.federation.roster))

    def _stages(self) -> OpenedRound:
        purpose, sites = self.order.purpose, self.federation.recipe.sites
        action = Action.TRAIN if purpose == "train" else Action.EVALUATE
        close, session = self._close, ServerSession
        silent = self._stage(purpose, action, self._orders(), session.add_advertisement, timeout=sites.training_timeout)
        self._note_receipts(silent)
        self._stage("share", Action.SHARE, close(session.close_advertisements), session.add_shares)
        self._stage("check", Action.CHECK, close(session.close_shares), session.add_check)
        complaints = close(session.close_checks)
        if complaints:
            self._stage("disclose", Action.DISCLOSE, complaints, session.add_disclosure)
        self._stage("mask", Action.MASK, close(session.close_disclosures), session.add_masked)
        self._stage("confirm", Action.CONFIRM, close(session.close_masked), session.add_confirmation)
        self._stage("open", Action.OPEN, close(session.close_confirmations), session.add_opening)
        opened = self._of_each_group(self._open)
        # Sites would refuse the round's receipt, and all that follows from it.
        require_confirmed(sum(len(each.confirmations) for each in self.openings), len(self.federation.roster))
        if self.order.groups == 1:
            return opened[0]
        if self.federation.recipe.sealing.groups == 1:
            return pool_groups(opened)
        return combine_groups(opened, self.federation.recipe.sealing)

    def _open(self, group: _Group) -> OpenedRound:
        """What the group's sum says, with its survivors as indices of the whole roster."""
        summed = group.session.open()
        names = tuple(group.roster.names[index] for index in summed.survivors)
        try:
            opened = group.contributions.decode(summed)
        except DamagedSumError:
            self.sums.append(OpenedGroup(names, adds_up=False))
            raise
        self.sums.append(OpenedGroup(names, adds_up=True))
        self.openings.append(OpeningProof.of(group.terms, summed))
        survivors = tuple(map(self.federation.roster.index, names))
        return replace(opened, survivors=survivors, groups=(survivors,))

    def _orders(self) -> _Requests:
        """The order for every node; they differ in nothing but the receipts that each site lacks."""
        of = self.federation
        order = {ORDER: self.order.to_bytes(), ORDER_SIGNATURE: self.order.signed_by(of.server)}
        adapter = ArrayRecord({ADAPTER: Array(self.current)})
        held = {node: min(of.held.get(node, 0), len(of.receipts)) for node in of.sites}

        @lru_cache(maxsize=1)
        def content(count: int) -> RecordDict:
            fields = order | lacking(of.receipts, count, of.rosters, of.roster)
            return RecordDict({ARRAYS: adapter, CONFIG: ConfigRecord(fields)})  # type: ignore[arg-type]

        # Made as they are sent, the same ones after each other: members that each say that they have another number of
        # receipts do not have a copy of the chain for each lie in memory.
        nodes = tuple(sorted(of.sites, key=lambda node: held[node]))
        return _Requests(nodes, lambda node: content(held[node]))

    def _note_receipts(self, silent: set[int]) -> None:
        """Who took the order has all receipts. Who refused it may have lost some, so it is sent them all again."""
        for node, site in self.federation.sites.items():
            if node not in silent:
                self.federation.held[node] = 0 if site in self._failures else len(self.federation.receipts)

    def _close(self, close: Callable[[ServerSession], Mapping[int, bytes]]) -> _Requests:
        """Closes a stage in every group: the next one's requests, by node."""
        nodes = {site: node for node, site in self.federation.sites.items()}
        closed = self._of_each_group(lambda group: close(group.session))
        whose: dict[int, tuple[Mapping[int, bytes], int]] = {}
        for group, payloads in zip(self._standing, closed, strict=True):
            whose |= {nodes[group.roster.names[index]]: (payloads, index) for index in sorted(payloads)}

        def request(node: int) -> RecordDict:
            payloads, index = whose[node]
            return RecordDict({CONFIG: ConfigRecord({PAYLOAD: payloads[index]})})

        return _Requests(tuple(whose), request)

    def _of_each_group(self, work: Callable[[_Group], T]) -> list[T]:
        """Does `work` in every group; those in which it fails are left out from then on.

        Raises:
            FederationError: too few groups are left. Why the last one failed is told.
        """
        results, standing, last = [], [], None
        for group in self._standing:
            try:
                results.append(work(group))
                standing.append(group)
            except FederationError as error:
                last = error
        needed = fewest_groups(self.federation.recipe)
        if last is not None and len(standing) < needed:
            if len(self._groups) == 1:
                raise last
            raise FederationError(
                f"only {len(standing)} groups of sites stand, {needed} are needed; of one of the others, {last}"
            )
        self._standing = standing
        return results

    def _stage(
        self,
        name: StageName,
        action: Action,
        requests: _Requests,
        take: Callable[[ServerSession, bytes], int],
        *,
        timeout: float | None = None,
    ) -> set[int]:
        """Runs one stage; returns the nodes that did not answer at all."""
        of, number = self.federation, self.order.round_number
        of.events.write(Stage(round=number, stage=name, sites=len(requests)))

        def on_reply(node: int, content: RecordDict) -> None:
            try:
                self._take_from(of.sites[node], content, take)
            except ProtocolError as error:
                on_error(node, str(error))
                return
            down, up = requests.bytes_of[node], content_bytes(content)
            of.events.write(SiteReplied(round=number, stage=name, site=of.sites[node], bytes_up=up, bytes_down=down))

        def on_error(node: int, reason: str) -> None:
            self._failures[of.sites[node]] = reason
            of.events.write(SiteFailed(round=number, stage=name, site=of.sites[node], reason=reason))

        limit = timeout or of.recipe.sites.stage_timeout
        return exchange(of.grid, action, requests, timeout=limit, on_reply=on_reply, on_error=on_error)

    def _take_from(self, site: str, content: RecordDict, take: Callable[[ServerSession, bytes], int]) -> None:
        group = self._group_of[site]
        sender = take(group.session, _protocol_message(content))
        named = group.roster.names[sender]
        if named != site:
            raise ProtocolError(f"node of site {site!r} answered for {named!r}: see its identity")


def _protocol_message(content: RecordDict) -> bytes:
    masked = array_bytes(content, MASKED)
    message = wire_field(content, PAYLOAD) if masked is None else masked
    if not isinstance(message, bytes):
        raise ProtocolError("a site's answer holds no protocol message: it was refused")
    return message
