"""Flower's strategies over the seal, and what bad answers do to a round. The sites have no model."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import FederationError
from sealora_common.identity import SIGNATURE_BYTES, Identity
from sealora_common.records.event_log import read_events
from sealora_common.records.events import SiteFailed, SiteReplied
from sealora_common.secagg.messages import bundle, unbundle
from sealora_server.run.sealed_round import SealedSum, seal_round
from sealora_server.run.server_optimizer import ServerOptimizer
from sealora_server.run.strategy import build_strategy

from lora_kinds import lora
from pure_sites import LAYOUT, PureGrid, federation_over, node_error, order_for, pure_federation, pure_recipe

OPTIMIZERS = {
    "fedavg": {},
    "fedavg with a learning rate": {"optimizer": "fedavg", "learning_rate": 0.5},
    "fedavgm": {"momentum": 0.7, "learning_rate": 0.8},
    "fedadam": {"learning_rate": 0.1, "momentum": 0.9, "beta_2": 0.99},
    "fedyogi": {"learning_rate": 0.1, "momentum": 0.9, "beta_2": 0.99},
    "fedadagrad": {"learning_rate": 0.1},
}


class Federation:
    """A few pure sites, and the recipe's strategy over what they seal."""

    def __init__(self, directory, recipe=None, count=3, layout=LAYOUT):
        self.recipe = recipe or pure_recipe()
        self.roster, self.sites = pure_federation(self.recipe, count, layout=layout)
        self.grid = PureGrid(self.sites)
        server = Identity.create("server", SystemEntropy())
        self.federation = federation_over(directory, self.grid, self.recipe, self.roster, server)
        self.events = self.federation.events
        self.optimizer = ServerOptimizer(self.recipe)
        self.start = adapter_kind(self.recipe).shared(layout).flatten(lora().initial(layout))
        self.sealed: SealedSum | None = None

    def round(self, number=1, current=None):
        """One round of training; returns the strategy's arrays."""
        adapter = self.start if current is None else current
        assert set(self.optimizer.chosen("train", number, adapter, list(self.sites))) == set(self.sites)
        self.sealed = seal_round(self.federation, order_for(self.federation, adapter, number), adapter)
        return self.optimizer.step(number, self.sealed.adapter, self.sealed.opened.heldout_loss)

    def failed(self):
        recorded = [entry.event for entry in read_events(self.events.path)]
        return {event.site: event.reason for event in recorded if isinstance(event, SiteFailed)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_strategy_over_the_seal_does_what_it_does_over_plain_replies(tmp_path, name):
    section = {"optimizer": name} | OPTIMIZERS[name]
    federation = Federation(tmp_path, pure_recipe(server=section, rounds=4))
    weights = {"site-0": 0.2, "site-1": 1.0, "site-2": 0.55}
    for site in federation.sites.values():
        site.weight = weights[site.name]
    plain_strategy = build_strategy(federation.recipe)
    sealed = plain = federation.start
    for number in range(1, 5):
        sealed = federation.round(number, sealed)
        plain = plain_round(plain_strategy, federation, weights, number, plain)
        assert np.abs(plain - federation.start).max() > 0.01
        np.testing.assert_allclose(sealed, plain, atol=2e-6 * number)


def plain_round(strategy, federation, weights, number, current):
    """The same strategy over replies that carry every site's own arrays in clear."""
    arrays = ArrayRecord({"adapter": Array(current)})
    messages = list(strategy.configure_train(number, arrays, ConfigRecord(), federation.grid))
    replies = []
    for message in messages:
        site = federation.sites[message.metadata.dst_node_id]
        trained = current + site.deltas(site.name, number)
        content = RecordDict(
            {
                "arrays": ArrayRecord({"adapter": Array(trained)}),
                "metrics": MetricRecord({"num-examples": weights[site.name]}),
            }
        )
        replies.append(Message(content, reply_to=message))
    stepped, _ = strategy.aggregate_train(number, replies)
    return stepped["adapter"].numpy().astype(np.float32)


@pytest.mark.parametrize("aggregation", ["ffa", "average", "alternating"])
def test_the_mean_lands_in_the_tensors_that_were_trained(tmp_path, aggregation):
    recipe = pure_recipe(lora={"aggregation": aggregation})
    federation = Federation(tmp_path, recipe)

    def deltas(name, number):
        size = lora(aggregation).trained(LAYOUT, number).size
        return np.full(size, 0.25 * (1 + int(name[-1])), dtype=np.float32)

    for site in federation.sites.values():
        site.deltas = deltas
    for number in (1, 2):
        moved = federation.round(number) - federation.start
        shared = lora(aggregation).shared(LAYOUT)
        changed = {name for name, change in shared.unflatten(moved).items() if np.abs(change).max() > 0.1}
        assert changed == set(lora(aggregation).trained(LAYOUT, number).names)
        assert set(np.round(moved[np.abs(moved) > 0.1], 5)) == {0.5}


def test_an_evaluation_opens_the_mean_loss_and_moves_nothing(tmp_path):
    federation = Federation(tmp_path)
    for site, loss in zip(federation.sites.values(), (1.0, 2.0, 6.0), strict=True):
        site.heldout_loss = loss
    order = order_for(federation.federation, federation.start, 4, "evaluate")
    sealed = seal_round(federation.federation, order, federation.start)
    assert sealed.opened.heldout_loss == pytest.approx(3.0, abs=1e-6)
    np.testing.assert_array_equal(sealed.adapter, federation.start)


def test_bytes_are_counted_by_site_and_stage(tmp_path):
    federation = Federation(tmp_path)
    federation.round()
    replied = [e.event for e in read_events(federation.events.path) if isinstance(e.event, SiteReplied)]
    masks = [event for event in replied if event.stage == "mask"]
    assert {event.site for event in masks} == {"site-0", "site-1", "site-2"}
    words = 12 * 4 + 4 * 4  # of the delta and of the tally
    assert all(words <= event.bytes_up <= words + 300 + SIGNATURE_BYTES for event in masks)
    # The adapter goes down with the order to train.
    assert all(event.bytes_down > federation.start.nbytes for event in replied if event.stage == "train")


GARBAGE = {
    "nothing": RecordDict(),
    "text": RecordDict({"config": ConfigRecord({"payload": "text"})}),
    "empty": RecordDict({"config": ConfigRecord({"payload": b""})}),
    "zeros": RecordDict({"config": ConfigRecord({"payload": b"SLRA" + bytes(200)})}),
    "no array": RecordDict({"arrays": ArrayRecord({"masked": Array("uint8", (4,), "numpy.ndarray", b"no array")})}),
    "a pickle": RecordDict({"arrays": ArrayRecord({"masked": Array("object", (4,), "numpy.ndarray", b"\x80\x04N.")})}),
    "a vast array": RecordDict(
        {
            "arrays": ArrayRecord(
                {
                    "masked": Array(
                        "uint8",
                        (10**13,),
                        "numpy.ndarray",
                        b"\x93NUMPY\x01\x00v\x00"
                        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000,), }".ljust(117)
                        + b"\nxyz",
                    )
                }
            )
        }
    ),
    "unknown array": RecordDict({"arrays": ArrayRecord({"masked": Array("uint8", (4,), "some.other", b"1234")})}),
    "floats": RecordDict({"arrays": ArrayRecord({"masked": Array(np.zeros(3, dtype=np.float64))})}),
    "a refusal": RecordDict({"config": ConfigRecord({"error": "no"})}),
}
STAGES = {"train": "train", **{name: f"query.{name}" for name in ("share", "check", "mask", "confirm", "open")}}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("garbage", GARBAGE)
def test_an_answer_that_makes_no_sense_costs_its_sender_alone(tmp_path, stage, garbage):
    federation = Federation(tmp_path, count=4)

    def tamper(site, action, reply):
        if (site, action) == ("site-2", STAGES[stage]):
            reply.content = GARBAGE[garbage]
        return reply

    federation.grid.tamper = tamper
    moved = federation.round() - federation.start
    assert set(federation.failed()) == {"site-2"}
    survivors = [0, 1, 3] if stage in ("train", "share", "check", "mask") else [0, 1, 2, 3]
    assert federation.sealed.opened.survivors == tuple(survivors)
    sites = list(federation.sites.values())
    expected = np.mean([sites[index].deltas(f"site-{index}", 1) for index in survivors], axis=0)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_silence_and_node_errors_are_told_apart(tmp_path, stage):
    federation = Federation(tmp_path, count=5)

    def tamper(site, action, reply):
        if action == STAGES[stage]:
            if site == "site-1":
                return None
            if site == "site-3":
                return node_error(reply, "Traceback:\n  File x\nOSError: gone\n")
        return reply

    federation.grid.tamper = tamper
    federation.round()
    assert federation.failed() == {
        "site-1": "no answer within 0 s",
        "site-3": "the site's Flower node reported: OSError: gone",
    }


def test_a_replayed_answer_of_the_round_before_is_refused(tmp_path):
    federation = Federation(tmp_path, count=4)
    kept = {}

    def keep(site, action, reply):
        if (site, action) == ("site-0", "train"):
            kept.setdefault("first", reply.content)
            reply.content = kept["first"]
        return reply

    federation.grid.tamper = keep
    federation.round(1)
    assert federation.failed() == {}
    federation.round(2)
    assert "not of this round" in federation.failed()["site-0"]


def test_an_answer_in_another_s_name_is_refused(tmp_path):
    federation = Federation(tmp_path, count=4)
    answered = []

    def swap(site, action, reply):
        if action == "train":
            answered.append((site, reply.content))
            if len(answered) == 2:
                reply.content = answered[0][1]
        return reply

    federation.grid.tamper = swap
    federation.round()
    impostor = answered[1][0]
    assert federation.failed() == {impostor: "a site answered a stage twice: the second answer was refused"}
    assert len(federation.sealed.opened.survivors) == 3


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("a forged key", "not signed by a site of the roster"),
        ("the same site twice", "advertised two sets of keys"),
        ("without the recipient", "own keys are not among the advertised"),
        ("of another round", "not of this round"),
    ],
)
def test_sites_refuse_a_bundle_of_keys_that_the_server_forged(tmp_path, lie, said):
    federation = Federation(tmp_path, count=3)
    earlier = []

    def forge(site, action, content):
        if action != "query.share":
            return
        messages = unbundle(content["config"]["payload"], limit=3, message_limit=1 << 16)
        earlier.append(messages)
        if lie == "a forged key":
            messages = [m[:60] + bytes([m[60] ^ 255]) + m[61:] for m in messages]
        elif lie == "the same site twice":
            messages = [messages[0], messages[0], *messages[1:]][:3]
        elif lie == "without the recipient":
            messages = [m for m, name in zip(messages, ("site-0", "site-1", "site-2"), strict=True) if name != site]
        elif lie == "of another round":
            messages = earlier[0] if len(earlier) > 3 else messages
        content["config"] = ConfigRecord({"payload": bundle(messages)})

    federation.grid.change_request = forge
    if lie == "of another round":
        federation.round(1)
    with pytest.raises(FederationError, match="only 0 of 3 sites shared their keys, 3 are needed"):
        federation.round(2)
    assert all(said in reason for reason in federation.failed().values())
    assert len(federation.failed()) == 3


def test_a_server_that_tells_two_sets_of_survivors_gets_no_shares(tmp_path):
    """The attack that the confirm stage is for (Bonawitz et al. 2017, section 6)."""
    federation = Federation(tmp_path, count=4)

    def split(site, action, content):
        if action == "query.confirm" and site in ("site-0", "site-1"):
            statements = unbundle(content["config"]["payload"], limit=4, message_limit=1 << 16)
            content["config"] = ConfigRecord({"payload": bundle(statements[:3])})

    federation.grid.change_request = split
    with pytest.raises(FederationError, match="confirmed the survivors"):
        federation.round()
    assert ("site-0", "query.open") not in federation.grid.delivered


def test_below_the_threshold_nothing_is_opened_and_the_reasons_are_named(tmp_path):
    federation = Federation(tmp_path, count=4)

    def tamper(site, action, reply):
        return node_error(reply) if action == "query.mask" and site in ("site-0", "site-1") else reply

    federation.grid.tamper = tamper
    with pytest.raises(FederationError) as caught:
        federation.round()
    assert str(caught.value) == (
        "only 2 of 4 sites sent their vectors, 3 are needed: the round is aborted and nothing was opened; "
        "site-0: the site's Flower node reported: the node went away; "
        "site-1: the site's Flower node reported: the node went away"
    )
    assert federation.sealed is None
    assert not any(action == "query.open" for _, action in federation.grid.delivered)
