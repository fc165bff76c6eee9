"""Sites without a model: they answer a server as real ones do, with deltas that a test chooses.

They need neither torch nor data, so a round takes milliseconds. `PureGrid` is the grid that connects them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout, TensorSpec, adapter_kind
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import OrderRefusedError
from sealora_common.identity import Identity
from sealora_common.receipts.conclusion import Conclusion
from sealora_common.receipts.receipt import chain_from_bytes, history_of
from sealora_common.recipe import Recipe, parse_recipe
from sealora_common.records.event_log import EventLog
from sealora_common.roster import Roster
from sealora_common.roster.book import RosterBook
from sealora_common.round.clip_range import initial_range
from sealora_common.round.contribution import Contribution, ContributionLayout
from sealora_common.round.groups import group_of
from sealora_common.round.hello import Hello
from sealora_common.round.holding import Holding
from sealora_common.round.order import Purpose, RoundOrder, evaluates, terms_of
from sealora_common.secagg import SiteSession
from sealora_server.run.blame import Blame
from sealora_server.run.enrolment import Enrolment
from sealora_server.run.sealed_round import Federation

LAYOUT = AdapterLayout(
    (
        TensorSpec("base_model.model.layers.0.q_proj.lora_A.weight", (2, 8)),
        TensorSpec("base_model.model.layers.0.q_proj.lora_B.weight", (6, 2)),
    )
)

RUN_ID = "ab" * 16
Deltas = Callable[[str, int], NDArray[np.float32]]
Tampering = Callable[[str, str, Message], Message | None]


@dataclass
class PureSite:
    """One site: its part of every round, with deltas from outside."""

    identity: Identity
    recipe: Recipe
    roster: Roster
    layout: AdapterLayout
    deltas: Deltas
    weight: float = 1.0
    heldout_loss: float = 2.0
    session_class: type[SiteSession] = SiteSession
    """Another for a member that has turned."""
    receipts: int = 0
    """How many receipts of the run it has; a test may make it forget some."""
    told: list[int] = field(default_factory=list)
    """How many receipts came with each order."""
    final_adapter: str | None = None
    """Digest of the adapter that it was given at a run's end."""
    session: SiteSession | None = None
    vector: Any = None

    @property
    def name(self) -> str:
        return self.identity.name

    def answer(self, action: str, content: RecordDict) -> RecordDict:
        """The answer to one message."""
        config = content.config_records["config"]
        if action == "query.hello":
            hello = Hello(
                site=self.name,
                recipe_hash=self.recipe.hash,
                roster_hash=self.roster.hash.hex(),
                layout=self.layout.to_json(),
                receipts=self.receipts,
            )
            return _payload(hello.to_bytes())
        if action in ("train", "evaluate"):
            self._take_receipts(config["receipts"])  # type: ignore[arg-type]
            return _payload(self._begin(RoundOrder.parse(config["order"])))  # type: ignore[arg-type]
        if action in ("query.held", "query.deliver"):
            return _payload(self._hold(config).to_bytes())
        assert self.session is not None
        payload: bytes = config["payload"]  # type: ignore[assignment]
        if action == "query.mask":
            masked = self.session.mask(payload, self.vector)
            return RecordDict({"arrays": ArrayRecord({"masked": Array(np.frombuffer(masked, dtype=np.uint8))})})
        return _payload(getattr(self.session, action.removeprefix("query."))(payload))

    def _hold(self, config: Any) -> Holding:
        """What it has of a run that is over, once it has taken what came."""
        if "conclusion" not in config:
            return Holding(run=config["run"].decode(), receipts=self.receipts, adapter_digest=self.final_adapter)
        self._take_receipts(config["receipts"])
        conclusion = Conclusion.parse(config["conclusion"])
        self.final_adapter = conclusion.adapter_digest
        return Holding(run=conclusion.run, receipts=self.receipts, adapter_digest=self.final_adapter)

    def _take_receipts(self, content: bytes) -> None:
        told = chain_from_bytes(content)
        self.told.append(len(told))
        if told and told[0].round_number > self.receipts + 1:
            raise OrderRefusedError(f"this site has {self.receipts} receipts and lacks some")
        self.receipts = max([self.receipts, *(receipt.round_number for receipt in told)])

    def _begin(self, order: RoundOrder) -> bytes:
        trained = adapter_kind(self.recipe).trained(self.layout, order.round_number)
        training = order.purpose == "train"
        group = group_of(order, self.roster, self.name)
        contributions = ContributionLayout.of(
            self.recipe,
            trained if training else None,
            len(group),
            evaluates=evaluates(order, self.recipe),
            clip_norm=order.clip_norm,
        )
        delta = self.deltas(self.name, order.round_number) if training else np.zeros(0, dtype=np.float32)
        contribution = Contribution(delta, self.weight, self.heldout_loss)
        self.vector = contributions.encode(contribution, SystemEntropy())
        terms = terms_of(order, self.recipe, group, contributions)
        self.session, advertisement = self.session_class.begin(terms, group, self.identity, SystemEntropy())
        return advertisement


@dataclass
class PureGrid(Grid):
    """Connects sites to a server; `tamper(site, action, reply)` may change a reply, None stands for silence."""

    sites: dict[int, PureSite]
    tamper: Tampering = lambda site, action, reply: reply
    change_request: Callable[[str, str, RecordDict], None] = lambda site, action, content: None
    delivered: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._undelivered: dict[str, Message] = {}
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1

    def get_node_ids(self) -> list[int]:
        return list(self.sites)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            message_id = uuid.uuid4().hex
            message.metadata.__dict__["_message_id"] = message_id
            self._undelivered[message_id] = message
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = []
        for message_id in message_ids:
            message = self._undelivered.pop(message_id, None)
            reply = None if message is None else self._deliver(message)
            if reply is not None:
                replies.append(reply)
        return replies

    def _deliver(self, message: Message) -> Message | None:
        site = self.sites[message.metadata.dst_node_id]
        action = message.metadata.message_type
        self.delivered.append((site.name, action))
        self.change_request(site.name, action, message.content)
        try:
            reply = Message(site.answer(action, message.content), reply_to=message)
        except Exception as error:
            reply = Message(RecordDict({"config": ConfigRecord({"error": str(error)})}), reply_to=message)
        return self.tamper(site.name, action, reply)

    # The rest of Flower's interface is not used.
    send_and_receive = set_run = create_message = None  # type: ignore[assignment]

    @property
    def run(self) -> Any:
        raise NotImplementedError


def node_error(
    reply: Message, reason: str = "the node went away", code: int = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
) -> Message:
    """What Flower hands the server when a node fails."""
    failed = Message(Error(code, reason), reply_to=reply)
    failed.metadata.__dict__.update(reply.metadata.__dict__)
    return failed


def refusal(reply: Message, reason: str) -> Message:
    """The answer of a site that refuses, in place of `reply`."""
    reply.content["config"] = ConfigRecord({"error": reason})
    return reply


def pure_recipe(**sections: Any) -> Recipe:
    """A recipe for sites without a model; 32-bit words, so that rounding hardly shows."""
    values: dict[str, Any] = {
        "name": "pure",
        "rounds": 3,
        "model": {"base": "none"},
        "privacy": {"mechanism": "none"},
        "sealing": {"ring_bits": 32, "clip_range": 4.0, "adversary": "curious"},
        "sites": {"stage_timeout": 0.3, "training_timeout": 0.3},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    import yaml

    return parse_recipe(yaml.safe_dump(values))


def pure_federation(
    recipe: Recipe,
    count: int,
    *,
    deltas: Deltas | None = None,
    layout: AdapterLayout = LAYOUT,
    server: Identity | None = None,
    coordinator: Identity | None = None,
) -> tuple[Roster, dict[int, PureSite]]:
    """A roster of `count` sites, site-0 and so on, and the sites by node id (11, 12, ...)."""
    trained = adapter_kind(recipe).trained(layout, 1)

    def random_deltas(name: str, round_number: int) -> NDArray[np.float32]:
        generator = np.random.default_rng([int(name.removeprefix("site-")), round_number])
        return generator.normal(size=trained.size).astype(np.float32)

    identities = [Identity.create(f"site-{index}", SystemEntropy()) for index in range(count)]
    coordinator = coordinator or Identity.create("coordinator", SystemEntropy())
    public_keys = {identity.name: identity.public_key for identity in identities}
    roster = Roster.create("pure", public_keys, coordinator, None if server is None else server.public_key)
    sites = {
        11 + index: PureSite(identity, recipe, roster, layout, deltas or random_deltas)
        for index, identity in enumerate(identities)
    }
    return roster, sites


def federation_over(directory: Path, grid: PureGrid, recipe: Recipe, roster: Roster, server: Identity) -> Federation:
    """A run in `directory` over pure sites, which it has greeted, before its first round."""
    events = EventLog(directory / "events.jsonl")
    blame = Blame(directory, events)
    enrolment = Enrolment(grid, recipe, roster, RUN_ID, blame.sites)
    layout = enrolment.wait()
    return Federation(
        grid=grid,
        recipe=recipe,
        roster=roster,
        layout=layout,
        sites=enrolment.sites,
        held=enrolment.receipts,
        receipts=(),
        rosters=RosterBook(directory / "rosters"),
        server=server,
        events=events,
        blame=blame,
    )


def order_for(
    federation: Federation, adapter: NDArray[np.float32], round_number: int, purpose: Purpose = "train"
) -> RoundOrder:
    """The order of a round's first attempt."""
    recipe = federation.recipe
    return RoundOrder.issue(
        purpose,
        run=RUN_ID,
        round_number=round_number,
        attempt=1,
        recipe=recipe,
        roster=federation.roster,
        layout_digest=federation.layout.digest,
        adapter=adapter,
        history=history_of(federation.receipts),
        clip_range=initial_range(recipe),
        clip_norm=recipe.privacy.clip_norm,
        groups=recipe.sealing.groups,
    )


def _payload(payload: bytes) -> RecordDict:
    return RecordDict({"config": ConfigRecord({"payload": payload})})
