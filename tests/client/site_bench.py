"""A few prepared sites and the server's side of a round in a test's own hands, message by message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from numpy.typing import NDArray

from sealora_client.app import app
from sealora_client.site.directory import open_site
from sealora_common.identity import Identity
from sealora_common.receipts.receipt import OpeningProof, Receipt, chain_to_bytes, history_of
from sealora_common.roster import Roster
from sealora_common.round.order import RoundOrder, layout_of, terms_of, vector_digest
from sealora_common.secagg import ServerSession
from sealora_server.run.store import RunStore
from sealora_server.simulation.inline import InlineGrid

from lora_kinds import lora
from quorum import quorum, transcript_of
from tiny_federation import prepare_run, recipe_of, write_federation

RUN_ID = "ab" * 16


class Bench:
    """Three sites in directories of their own; `ask` is what a server can do to one."""

    def __init__(self, directory: Path, base: Path, **sections: dict[str, Any]) -> None:
        recipe = write_federation(directory, base, **sections)
        self.run = directory / "run"
        prepare_run(recipe, self.run)
        self.recipe = recipe_of(self.run)
        self.roster = Roster.load(self.run / "roster.json")
        self.site = open_site(self.run / "sites" / "site-0")
        self.layout = self.site.model().layout
        self.aggregation = self.recipe.lora.aggregation
        self.adapter = lora(self.aggregation).shared(self.layout).flatten(lora().initial(self.layout))
        InlineGrid(app, [])  # gives this process the identity that messages are stamped with
        self.receipts: list[Receipt] = []
        self.server = RunStore.open(self.run).server_identity()
        self.contexts = {
            name: Context(
                run_id=1,
                node_id=10 + index,
                node_config={"site-directory": str(self.run / "sites" / name)},
                state=RecordDict(),
                run_config={},
            )
            for index, name in enumerate(self.roster.names)
        }

    def directory(self, name: str = "site-0") -> Path:
        return self.run / "sites" / name

    def order(self, purpose: str = "train", **changes: Any) -> RoundOrder:
        """A good order of round 1, or one with some fields changed."""
        adapter = changes.pop("adapter", self.adapter)
        round_number = changes.pop("round_number", 1)
        order = RoundOrder.issue(
            purpose,  # type: ignore[arg-type]
            run=RUN_ID,
            round_number=round_number,
            attempt=changes.pop("attempt", 1),
            recipe=self.recipe,
            roster=self.roster,
            layout_digest=self.layout.digest,
            adapter=adapter,
            history=history_of(self.receipts[: round_number - 1]),
        )
        return order.model_copy(update=changes)

    def ask(self, name: str, action: str, content: RecordDict) -> RecordDict:
        """Sends one message to a site's app; returns the content of the answer."""
        message = Message(content, dst_node_id=self.contexts[name].node_id, message_type=action)
        return app(message, self.contexts[name]).content

    def begin(
        self, name: str, order: RoundOrder | bytes, adapter: NDArray[Any] | None = None, action: str = "train"
    ) -> RecordDict:
        """Sends an order, signed, with all the receipts it follows from."""
        return self.ask(name, action, self.content(order, self.adapter if adapter is None else adapter))

    def content(self, order: RoundOrder | bytes, adapter: NDArray[Any], **fields: bytes) -> RecordDict:
        """The content of an order's message, with some of its fields changed or added."""
        encoded = order if isinstance(order, bytes) else order.to_bytes()
        config = {
            "order": encoded,
            "order-signature": self.server.sign(b"sealora order v1\n" + encoded),
            "receipts": chain_to_bytes(self.before(order)),
        }
        return RecordDict(
            {"arrays": ArrayRecord({"adapter": Array(adapter)}), "config": ConfigRecord(config | fields)}  # type: ignore[arg-type]
        )

    def before(self, order: RoundOrder | bytes) -> list[Receipt]:
        """The receipts of the rounds before the order's."""
        return [] if isinstance(order, bytes) else self.receipts[: order.round_number - 1]

    def receipt(
        self,
        order: RoundOrder,
        adapter_digest: str | None = None,
        *,
        survivors: tuple[str, ...] | None = None,
        transcript: bytes | None = None,
    ) -> Receipt:
        """A receipt of the order's round as if the sites had played it: made with all their keys.

        No server can do that alone: it stands for rounds that were played, of which a test needs no more.
        """
        identities = {name: Identity.load(name, self.directory(name) / "identity.pem") for name in self.roster.names}
        named = self.roster.names if survivors is None else survivors
        terms = terms_of(order, self.recipe, self.roster, layout_of(order, self.recipe, self.roster, self.layout))
        proof = quorum(terms, self.roster, identities, named, transcript or transcript_of(order))
        digest = vector_digest(self.adapter) if adapter_digest is None else adapter_digest
        return Receipt.issue(order, [proof], named, digest, self.server)

    def stage(self, name: str, action: str, payload: bytes) -> RecordDict:
        """Sends a later stage's message."""
        return self.ask(name, f"query.{action}", RecordDict({"config": ConfigRecord({"payload": payload})}))

    def session(self, order: RoundOrder) -> ServerSession:
        """The server's part in the order's round."""
        contributions = layout_of(order, self.recipe, self.roster, self.layout)
        return ServerSession(terms_of(order, self.recipe, self.roster, contributions), self.roster)

    def play(
        self, order: RoundOrder, until: str | None = None, step: float = 0.0
    ) -> tuple[ServerSession, dict[str, bytes]]:
        """Plays a round with all sites up to the stage `until`; returns the session and that stage's requests.

        A round of training that was played to its end moves the adapter by `step` everywhere.
        """
        session = self.session(order)
        purpose = order.purpose
        for name in self.roster.names:
            session.add_advertisement(payload_of(self.begin(name, order, action=purpose)))
        steps = (
            ("share", session.close_advertisements, session.add_shares),
            ("check", session.close_shares, session.add_check),
            ("disclose", session.close_checks, session.add_disclosure),
            ("mask", session.close_disclosures, session.add_masked),
            ("confirm", session.close_masked, session.add_confirmation),
            ("open", session.close_confirmations, session.add_opening),
        )
        for stage, close, take in steps:
            requests = {self.roster.names[index]: payload for index, payload in close().items()}
            if stage == until:
                return session, requests
            for name, payload in requests.items():
                take(payload_of(self.stage(name, stage, payload)))
        if order.purpose == "train" and order.round_number == len(self.receipts) + 1:
            self.adapter = self.adapter + np.float32(step)
            terms = terms_of(order, self.recipe, self.roster, layout_of(order, self.recipe, self.roster, self.layout))
            confirmed = tuple(message for _, message in sorted(session._confirmed.items()))
            proof = OpeningProof(terms=terms.to_bytes(), confirmations=confirmed[: terms.needed])
            digest = vector_digest(self.adapter)
            self.receipts.append(Receipt.issue(order, [proof], self.roster.names, digest, self.server))
        return session, {}


def order_to_train(bench: Bench) -> RecordDict:
    """The content of a good order of round 1, for a site that is asked over a server."""
    return bench.content(bench.order(), bench.adapter)


def payload_of(content: RecordDict) -> bytes:
    """The protocol message in a site's answer."""
    if "arrays" in content:
        return np.asarray(content.array_records["arrays"]["masked"].numpy()).tobytes()
    return content.config_records["config"]["payload"]  # type: ignore[return-value]


def refusal_of(content: RecordDict) -> str:
    """The one thing a refusing site says."""
    assert not content.array_records
    assert not content.metric_records
    assert {name: set(record) for name, record in content.config_records.items()} == {"config": {"error"}}
    said = content.config_records["config"]["error"]
    assert isinstance(said, str)
    assert "\n" not in said
    return said
