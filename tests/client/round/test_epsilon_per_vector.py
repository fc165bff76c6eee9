"""Epsilon is spent for a vector that left the site and for nothing else, whoever disturbs a round at whatever stage."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import RecordDict

from quick_cases import quick_cases
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.round.outbox import Outbox
from sealora_client.round.participation import Participation, RoundState
from sealora_client.round.work import RoundWork
from sealora_client.site import directory as site
from sealora_client.training.local import LocalTraining
from sealora_common.errors import OrderRefusedError
from sealora_common.round.contribution import ContributionLayout
from sealora_common.secagg.bodies import Envelope, ShareMessage, ShareStatement
from sealora_common.secagg.messages import Kind, open_signed

from charge_watch import LIAR, STAGES, VICTIM, Watch, stalls
from site_bench import Bench, payload_of, refusal_of
from tiny_federation import PRIVATE

MECHANISMS = ("local", "distributed")


def lies(at: str) -> Callable[[Watch, str, str, bytes], bytes | None]:
    """At this stage the server asks for it with one byte, with noise, and with another stage's message."""

    def disturb(watch: Watch, name: str, stage: str, payload: bytes) -> bytes | None:
        if stage == at:
            answers = [watch.ask(name, stage, lie) for lie in (b"\x00", secrets.token_bytes(200), payload[:-1])]
            assert answers == [None, None, None]
            return None
        return watch.ask(name, stage, payload)

    return disturb


def repeats(at: str) -> Callable[[Watch, str, str, bytes], bytes | None]:
    """This stage is asked for three times."""

    def disturb(watch: Watch, name: str, stage: str, payload: bytes) -> bytes | None:
        answer = watch.ask(name, stage, payload)
        if stage == at:
            assert [watch.ask(name, stage, payload) for _ in range(2)] == [None, None]
        return answer

    return disturb


def one_site_lies(at: str) -> Callable[[Watch, str, str, bytes], bytes | None]:
    """One member answers this stage with random envelopes of the right form, or with noise."""

    def disturb(watch: Watch, name: str, stage: str, payload: bytes) -> bytes | None:
        if (name, stage) != (LIAR, at):
            return watch.ask(name, stage, payload)
        if stage != "share":
            watch.ask(name, stage, payload)
            return None  # noise is refused by an honest server: the site counts as gone
        kept = watch.bench.contexts[name].state.config_records["sealora"]
        state = RoundState.model_validate_json(bytes(kept["round"]))  # type: ignore[arg-type]
        session = Participation(site.open_site(watch.bench.directory(name)), state, b"")._session()
        honest = watch.ask(name, stage, payload)
        assert honest is not None
        shared = ShareMessage.from_bytes(honest)
        _, body = open_signed(shared.signed, Kind.SHARE, session._terms, watch.bench.roster)
        envelopes = {index: Envelope(secrets.token_bytes(1200), secrets.token_bytes(1168)) for index in range(2)}
        digests = tuple(envelope.digest for envelope in envelopes.values())
        statement = dataclasses.replace(ShareStatement.from_bytes(body), envelopes=digests)
        return ShareMessage(session._sign(Kind.SHARE, statement.to_bytes()), envelopes).to_bytes()

    return disturb


def a_stranger_stalls(at: str) -> Callable[[Watch, str, str, bytes], bytes | None]:
    """A member's connection is held up at this stage: it did its part, and its answer never comes."""

    def disturb(watch: Watch, name: str, stage: str, payload: bytes) -> bytes | None:
        answer = watch.ask(name, stage, payload)
        return None if (name, stage) == (LIAR, at) else answer

    return disturb


def the_victim_is_stalled(at: str) -> Callable[[Watch, str, str, bytes], bytes | None]:
    """The victim's own answer never arrives; what it sent has left all the same."""

    def disturb(watch: Watch, name: str, stage: str, payload: bytes) -> bytes | None:
        answer = watch.ask(name, stage, payload)
        return None if (name, stage) == (VICTIM, at) else answer

    return disturb


DISTURBANCES = (stalls, lies, repeats, one_site_lies, a_stranger_stalls, the_victim_is_stalled)


@pytest.fixture
def bench_of(tiny_base: Callable[..., Path], tmp_path: Path) -> Callable[[str], Bench]:
    def make(mechanism: str) -> Bench:
        privacy = {"mechanism": "none"} if mechanism == "none" else {**PRIVATE, "mechanism": mechanism}
        sealing = {}
        if mechanism == "distributed":
            privacy["spare_rounds"], sealing = 2, {"ring_bits": 24}
        return Bench(tmp_path / mechanism, tiny_base(), records=6, rounds=1, privacy=privacy, sealing=sealing)

    return make


@pytest.mark.parametrize("mechanism", quick_cases(MECHANISMS, "local"))
@pytest.mark.parametrize("stage", quick_cases(STAGES, "mask"))
@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_epsilon_is_spent_per_vector_that_left_and_none_otherwise(bench_of, mechanism, stage, disturbance):
    bench = bench_of(mechanism)
    watch = Watch(bench)
    opened = 0
    for attempt in (1, 2):
        opened += watch.play(bench.order(attempt=attempt), disturbance(stage))
        # Under `local` it is the same vector each time; a sum of `distributed` is new each time it leaves.
        assert watch.paid() == (min(1, watch.vectors) if mechanism == "local" else watch.vectors)
    assert watch.vectors <= 2
    assert watch.play(bench.order(attempt=3))  # and an undisturbed attempt still finds its budget
    assert watch.paid() == (1 if mechanism == "local" else watch.vectors)
    assert sum(row.is_unused for row in watch.charges()) == 0


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_orders_that_are_never_followed_up_cost_nothing(bench_of, mechanism):
    """Run after run is invented, each trained for and dropped; the real one then has all of its budget."""
    bench = bench_of(mechanism)
    watch = Watch(bench)
    for number in range(12):
        payload_of(bench.begin(VICTIM, bench.order(run=f"{number:032x}")))
    assert watch.paid() == 0
    assert watch.play(bench.order())
    assert watch.paid() == watch.vectors == 1


def test_a_sum_is_sent_no_more_often_than_the_recipe_tries_a_round(bench_of):
    """However much budget there is: under `distributed` each time is new noise, and the server could average."""
    bench = bench_of("distributed")
    watch = Watch(bench)
    for attempt in (1, 2, 3):
        watch.play(bench.order(attempt=attempt), stalls("confirm"))
    said = refusal_of(bench.begin(VICTIM, bench.order(attempt=3)))
    assert "has sent its sum of round 1 3 times, which is as often as the recipe's sites.round_attempts allows" in said
    assert watch.paid() == watch.vectors == 3


@pytest.mark.parametrize(("mechanism", "vectors"), [("local", 2), ("distributed", 1), ("none", 1)])
def test_a_round_under_way_twice_is_paid_for_once(bench_of, mechanism, vectors):
    """The server opens two Flower runs for one round, so that the site remembers two: both trained for, then masked."""
    bench = bench_of(mechanism)
    watch = Watch(bench)
    _, first = bench.play(bench.order(attempt=1), until="mask")
    remembered = bench.contexts[VICTIM].state
    bench.contexts[VICTIM].state = RecordDict()
    _, second = bench.play(bench.order(attempt=2), until="mask")
    assert watch.ask(VICTIM, "mask", second[VICTIM]) is not None
    bench.contexts[VICTIM].state = remembered
    watch.ask(VICTIM, "mask", first[VICTIM])
    # Under `local` both carry the same noised delta. Where the seal alone protects it, a second one stays.
    assert watch.vectors == vectors
    assert watch.paid() == (0 if mechanism == "none" else 1)


def test_without_privacy_one_vector_of_a_round_leaves(bench_of):
    """Two sums over different survivors could be subtracted: one site's delta, its weight and its loss, exactly."""
    bench = bench_of("none")
    watch = Watch(bench)
    assert not watch.play(bench.order(attempt=1), stalls("confirm"))
    said = refusal_of(bench.begin(VICTIM, bench.order(attempt=2)))
    assert "has sent its vector of round 1, and without privacy.mechanism sends no second one" in said
    assert watch.vectors == 1


def test_a_vector_that_leaves_again_is_the_same(bench_of, monkeypatch):
    seen = []
    encode = ContributionLayout.encode

    def spied(self, contribution, entropy):
        seen.append(contribution)
        return encode(self, contribution, entropy)

    monkeypatch.setattr(ContributionLayout, "encode", spied)
    bench = bench_of("local")
    for attempt in (1, 2):
        bench.begin(VICTIM, bench.order(attempt=attempt))
    one, other = seen
    np.testing.assert_array_equal(one.values, other.values)
    assert one.values.any()
    assert (one.weight, one.heldout_loss, one.unclipped) == (other.weight, other.heldout_loss, other.unclipped)


def test_a_vector_is_on_the_disk_before_it_leaves_and_survives_a_restart(bench_of, monkeypatch):
    bench = bench_of("local")
    watch = Watch(bench)
    assert not watch.play(bench.order(attempt=1), stalls("confirm"))
    site._opened.clear()  # as a new process would
    monkeypatch.setattr(LocalTraining, "train", None)
    monkeypatch.setattr(HeldoutLossMetric, "measure", None)
    assert watch.play(bench.order(attempt=2))
    assert watch.paid() == 1


@pytest.mark.parametrize("change", [{"clip_norm": 2.0}, {"adapter_digest": "0" * 64}])
def test_a_round_ordered_again_as_another_is_refused(bench_of, change):
    bench = bench_of("local")
    bench.begin(VICTIM, bench.order())
    with pytest.raises(
        OrderRefusedError, match="round 1 was ordered before with another recipe, adapter or clipping norm"
    ):
        RoundWork(bench.site, bench.order(attempt=2, **change)).do(bench.adapter)


def test_what_only_the_seal_protects_is_never_written_down(bench_of):
    for mechanism, kept_loss in (("distributed", True), ("none", False)):
        bench = bench_of(mechanism)
        Watch(bench).play(bench.order())
        kept = Outbox(bench.directory(VICTIM), bench.order().run).find(bench.order())
        assert kept is not None
        assert kept.values is None
        assert (kept.heldout_loss is not None) == kept_loss
