"""A Flower grid that seals: strategies send and receive over it as over any other and only ever see the mean.

A strategy hands over its messages for the sites; the sealed grid runs the stages of a round with them and hands
back one reply, from nobody in particular: the global adapter plus the weighted mean of the sites' deltas, or, where
the recipe seals in groups, what `sealora_common.robust_mean` makes of the groups' means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout
from sealora_common.clip_range import initial_range
from sealora_common.contribution import ContributionLayout, OpenedRound
from sealora_common.errors import FederationError
from sealora_common.groups import fewest_groups, groups_of
from sealora_common.order import Purpose, RoundOrder, layout_of, terms_of
from sealora_common.receipt import Receipt, chain_to_bytes, history_of
from sealora_common.recipe import Recipe
from sealora_common.robust_mean import combine_groups
from sealora_common.roster import Roster
from sealora_common.secagg import ProtocolError, ServerSession
from sealora_common.wire_format import (
    ADAPTER,
    ARRAYS,
    CONFIG,
    MASKED,
    ORDER,
    PAYLOAD,
    RECEIPTS,
    Action,
    array,
    content_bytes,
    field,
)
from sealora_server.enrolment import Enrolment
from sealora_server.events import EventLog, SiteFailed, SiteReplied, Stage, StageName
from sealora_server.exchange import exchange

T = TypeVar("T")

HELDOUT_LOSS = "heldout-loss"
WEIGHT = "num-examples"


class SealedGrid(Grid):
    """Wraps a grid. `send_and_receive` runs one sealed round; nothing else reaches the sites."""

    def __init__(
        self,
        grid: Grid,
        *,
        recipe: Recipe,
        roster: Roster,
        layout: AdapterLayout,
        enrolment: Enrolment,
        run_id: str,
        events: EventLog,
    ) -> None:
        self._grid = grid
        self._recipe = recipe
        self._roster = roster
        self._layout = layout
        self._enrolment = enrolment
        self._run_id = run_id
        self._events = events
        self.attempt = 1
        self.receipts: list[Receipt] = []
        """The run's receipts so far; they travel with every order."""
        self.clip_range = initial_range(recipe)
        """Public range of a coordinate in the next round."""
        self.clip_norm = recipe.privacy.clip_norm
        """Clipping norm of the next round."""
        self.opened: OpenedRound | None = None
        self.order: RoundOrder | None = None
        """The order whose sum was opened last."""

    def take_roster(self, roster: Roster) -> None:
        """Seals among the sites of `roster` from the next round on."""
        self._roster = roster

    def get_node_ids(self) -> Iterable[int]:
        """The nodes of the sites that are enrolled now."""
        return list(self._enrolment.sites)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Runs the round that `messages` ask for: one `train` or `evaluate` message for each site.

        Returns:
            One reply. Its ArrayRecord holds the new global adapter as the mean of the sites would have it
            (training only), its MetricRecord the mean held-out loss.

        Raises:
            FederationError: too few sites were left, or the sum does not add up. Nothing was opened then.
        """
        asked = list(messages)
        content = asked[0].content
        purpose: Purpose = "train" if asked[0].metadata.message_type == Action.TRAIN else "evaluate"
        current = np.asarray(array(content, ADAPTER), dtype=np.float32)
        round_number = int(field(content, "server-round") or 0)
        trained = self._layout.trained(self._recipe.lora.aggregation, round_number) if purpose == "train" else None
        nodes = [message.metadata.dst_node_id for message in asked]
        sealed = _SealedRound(self, nodes, purpose, round_number, current)
        self.opened = sealed.run()
        self.order = sealed.order

        metrics = MetricRecord({WEIGHT: 1.0})
        if self.opened.heldout_loss is not None:
            metrics[HELDOUT_LOSS] = self.opened.heldout_loss
        reply = RecordDict({"metrics": metrics})
        if trained is not None:
            shared = self._layout.shared(self._recipe.lora.aggregation)
            stepped = shared.add(current, trained, self.opened.mean_delta)
            reply[ARRAYS] = ArrayRecord({ADAPTER: Array(stepped)})
        return [Message(reply, reply_to=asked[0])]

    # The rest of Flower's interface. A strategy that calls these would bypass the seal.

    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> NoReturn:
        raise NotImplementedError("deprecated by Flower: construct flwr.app.Message")

    def push_messages(self, messages: Iterable[Message]) -> NoReturn:
        raise NotImplementedError("a sealed grid exchanges messages by send_and_receive alone")

    def pull_messages(self, message_ids: Iterable[str]) -> NoReturn:
        raise NotImplementedError("a sealed grid exchanges messages by send_and_receive alone")


@dataclass(frozen=True)
class _Group:
    """Sites that are sealed together: all of the roster, or one of the groups it is dealt into."""

    roster: Roster
    contributions: ContributionLayout
    session: ServerSession


class _SealedRound:
    """The stages of one round, in order, of all groups at once.

    Sites that fail a stage are left out of the next, and so is a group that has too few of them left.
    """

    def __init__(
        self,
        sealed: SealedGrid,
        nodes: list[int],
        purpose: Purpose,
        round_number: int,
        current: NDArray[np.float32],
    ) -> None:
        self._grid = sealed._grid
        self._recipe = sealed._recipe
        self._roster = sealed._roster
        self._events = sealed._events
        self._sites = {node: sealed._enrolment.sites[node] for node in nodes}
        self._purpose = purpose
        self._round = round_number
        self._current = current
        self.order = RoundOrder.issue(
            purpose,
            run=sealed._run_id,
            round_number=round_number,
            attempt=sealed.attempt,
            recipe=self._recipe,
            roster=self._roster,
            layout_digest=sealed._layout.digest,
            adapter=current,
            history=history_of(sealed.receipts),
            clip_range=sealed.clip_range,
            clip_norm=sealed.clip_norm,
        )
        self._receipts = chain_to_bytes(sealed.receipts)
        dealt = groups_of(self.order, self._recipe, self._roster)
        self._groups = [self._group(roster, sealed._layout) for roster in dealt]
        self._group_of = {site: group for group in self._groups for site in group.roster.names}
        self._failures: dict[str, str] = {}

    def run(self) -> OpenedRound:
        try:
            return self._stages()
        except FederationError as error:
            reasons = "".join(f"; {site}: {reason}" for site, reason in sorted(self._failures.items()))
            raise FederationError(f"{error}{reasons}") from None

    def _group(self, roster: Roster, layout: AdapterLayout) -> _Group:
        contributions = layout_of(self.order, self._recipe, roster, layout)
        terms = terms_of(self.order, self._recipe, roster, contributions)
        return _Group(roster, contributions, ServerSession(terms, roster))

    def _stages(self) -> OpenedRound:
        first = RecordDict(
            {
                ARRAYS: ArrayRecord({ADAPTER: Array(self._current)}),
                CONFIG: ConfigRecord({ORDER: self.order.to_bytes(), RECEIPTS: self._receipts}),
            }
        )
        action = Action.TRAIN if self._purpose == "train" else Action.EVALUATE
        requests = dict.fromkeys(self._sites, first)
        timeout = self._recipe.sites.training_timeout
        self._stage(self._purpose, action, requests, ServerSession.add_advertisement, timeout=timeout)
        close, session = self._close, ServerSession
        self._stage("share", Action.SHARE, close(session.close_advertisements), session.add_shares)
        self._stage("mask", Action.MASK, close(session.close_shares), session.add_masked)
        self._stage("confirm", Action.CONFIRM, close(session.close_masked), session.add_confirmation)
        self._stage("open", Action.OPEN, close(session.close_confirmations), session.add_opening)
        opened = self._of_each_group(self._open)
        return opened[0] if self._recipe.sealing.groups == 1 else combine_groups(opened, self._recipe.sealing)

    def _open(self, group: _Group) -> OpenedRound:
        """What the group's sum says, with its survivors as indices of the whole roster."""
        opened = group.contributions.decode(group.session.open())
        survivors = tuple(self._roster.index(group.roster.names[index]) for index in opened.survivors)
        return replace(opened, survivors=survivors, groups=(survivors,))

    def _close(self, close: Callable[[ServerSession], dict[int, bytes]]) -> dict[int, RecordDict]:
        """Closes a stage in every group: the next one's requests, by node."""
        nodes = {site: node for node, site in self._sites.items()}
        closed = self._of_each_group(lambda group: close(group.session))
        requests = {}
        for group, payloads in zip(self._groups, closed, strict=True):
            for index, payload in sorted(payloads.items()):
                content = RecordDict({CONFIG: ConfigRecord({PAYLOAD: payload})})
                requests[nodes[group.roster.names[index]]] = content
        return requests

    def _of_each_group(self, work: Callable[[_Group], T]) -> list[T]:
        """Does `work` in every group; those in which it fails are left out from then on.

        Raises:
            FederationError: too few groups are left. Why the last one failed is told.
        """
        results, standing, last = [], [], None
        for group in self._groups:
            try:
                results.append(work(group))
                standing.append(group)
            except FederationError as error:
                last = error
        if last is not None and len(standing) < fewest_groups(self._recipe):
            if len(self._groups) == 1:
                raise last
            raise FederationError(
                f"only {len(standing)} groups of sites stand, {fewest_groups(self._recipe)} are needed; of one of the "
                f"others, {last}"
            )
        self._groups = standing
        return results

    def _stage(
        self,
        name: StageName,
        action: Action,
        requests: Mapping[int, RecordDict],
        take: Callable[[ServerSession, bytes], int],
        *,
        timeout: float | None = None,
    ) -> None:
        self._events.write(Stage(round=self._round, stage=name, sites=len(requests)))

        def on_reply(node: int, content: RecordDict) -> None:
            site = self._sites[node]
            try:
                self._take_from(site, content, take)
            except ProtocolError as error:
                on_error(node, str(error))
                return
            down = content_bytes(requests[node])
            up = content_bytes(content)
            self._events.write(SiteReplied(round=self._round, stage=name, site=site, bytes_up=up, bytes_down=down))

        def on_error(node: int, reason: str) -> None:
            self._failures[self._sites[node]] = reason
            self._events.write(SiteFailed(round=self._round, stage=name, site=self._sites[node], reason=reason))

        limit = timeout or self._recipe.sites.stage_timeout
        exchange(self._grid, action, requests, timeout=limit, on_reply=on_reply, on_error=on_error)

    def _take_from(self, site: str, content: RecordDict, take: Callable[[ServerSession, bytes], int]) -> None:
        group = self._group_of[site]
        sender = take(group.session, _protocol_message(content))
        named = group.roster.names[sender]
        if named != site:
            raise ProtocolError(f"node of site {site!r} answered for {named!r}: see its identity")


def _protocol_message(content: RecordDict) -> bytes:
    masked = array(content, MASKED)
    message = field(content, PAYLOAD) if masked is None else masked.tobytes()
    if not isinstance(message, bytes):
        raise ProtocolError("a site's answer holds no protocol message: it was refused")
    return message
