"""Real sites that are told two histories, or another than they took part in."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealora_common.receipts.receipt import Receipt
from sealora_common.round.order import vector_digest
from sealora_common.secagg.messages import bundle

from quorum import RUN
from site_bench import Bench, payload_of, refusal_of


@pytest.fixture(scope="module")
def played(tiny_base, tmp_path_factory) -> Bench:
    """Sites that took part in round 1."""
    bench = Bench(tmp_path_factory.mktemp("bench"), tiny_base(), rounds=3)
    bench.play(bench.order(), step=0.25)
    return bench


@pytest.fixture
def bench(played):
    """As it was after round 1, whatever the test does."""
    receipts, adapter = list(played.receipts), played.adapter
    before = {
        f"{name}-{part}": played.directory(name) / part
        for name in played.roster.names
        for part in ("receipts", "outbox")
    }
    for name, directory in before.items():
        shutil.copytree(directory, played.run / f"kept-{name}")
    yield played
    played.receipts, played.adapter = receipts, adapter
    for name, directory in before.items():
        shutil.rmtree(directory)
        shutil.move(played.run / f"kept-{name}", directory)


def other_world(bench: Bench) -> tuple[list[Receipt], np.ndarray]:
    """A second history of round 1, signed by the server as well, and its adapter."""
    adapter = bench.adapter + np.float32(1)
    changed = bench.receipts[0].model_copy(update={"adapter_digest": vector_digest(adapter)})
    return [changed.signed_by(bench.server)], adapter


def tell_two_worlds(bench: Bench) -> dict[str, bytes]:
    """Orders round 2 of site-0 and site-1 in one world and of site-2 in the other; returns what each advertised."""
    orders = {name: bench.order(round_number=2, nonce="7" * 32) for name in ("site-0", "site-1")}
    advertised = {name: payload_of(bench.begin(name, order)) for name, order in orders.items()}
    bench.receipts, bench.adapter = other_world(bench)
    advertised["site-2"] = payload_of(bench.begin("site-2", bench.order(round_number=2, nonce="7" * 32)))
    return advertised


def test_sites_that_were_told_two_worlds_get_no_sum_together(bench):
    """A server that hides it hands everybody's keys to everybody: they are keys of another round to the others."""
    advertised = tell_two_worlds(bench)
    everybody = bundle(list(advertised.values()))
    for name in advertised:
        said = refusal_of(bench.stage(name, "share", everybody))
        assert "advertise message is not of this round: it was refused" in said


def test_sites_that_were_told_one_world_do_get_a_sum(bench):
    """The same messages without the fork: the test above bites."""
    order = bench.order(round_number=2, nonce="7" * 32)
    everybody = bundle([payload_of(bench.begin(name, order)) for name in bench.roster.names])
    for name in bench.roster.names:
        assert payload_of(bench.stage(name, "share", everybody))


def test_a_site_that_knows_the_first_world_refuses_the_second(bench):
    bench.begin("site-2", bench.order(round_number=2))
    bench.receipts, bench.adapter = other_world(bench)
    said = refusal_of(bench.begin("site-2", bench.order(round_number=2)))
    assert "the server's receipts differ from this site's from round 1 on: the order is refused" in said


def test_a_receipt_with_other_survivors_than_the_sites_confirmed_reaches_no_training(bench):
    first = bench.receipts[0]
    bench.receipts = [first.model_copy(update={"survivors": first.survivors[:2]}).signed_by(bench.server)]
    for name in bench.roster.names:
        said = refusal_of(bench.begin(name, bench.order(round_number=2)))
        assert "the receipt of round 1 is refused: it names other survivors than its sites confirmed" in said


def test_another_session_than_the_sites_confirmed_reaches_no_training(bench):
    """Though all their keys were in the server's hands."""
    bench.receipts = [bench.receipt(bench.receipts[0].order, transcript=b"t" * 32)]
    for name in bench.roster.names:
        said = refusal_of(bench.begin(name, bench.order(round_number=2)))
        assert "the receipt of round 1 names another session than this site confirmed" in said


def test_a_greeting_says_how_many_receipts_of_the_run_the_site_has(bench):
    from flwr.app import ConfigRecord, RecordDict

    def told(run: bytes) -> int:
        greeting = bench.ask("site-0", "query.hello", RecordDict({"config": ConfigRecord({"run": run})}))
        return json.loads(payload_of(greeting))["receipts"]

    assert told(RUN.encode()) == 0
    payload_of(bench.begin("site-0", bench.order(round_number=2)))
    assert told(RUN.encode()) == 1
    through_a_file = f"{RUN}.jsonl/../{RUN}".encode()
    assert [told(run) for run in (b"cd" * 16, b"../" + RUN.encode(), through_a_file, b"", b"\xff")] == [0] * 5


def test_another_adapter_than_the_receipt_s_reaches_no_training(bench):
    moved = bench.adapter + np.float32(1)
    said = refusal_of(bench.begin("site-0", bench.order(round_number=2, adapter=moved), moved))
    assert "the order's adapter is not the one of the last receipt" in said


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.binary(max_size=200))
def test_no_bytes_as_receipts_make_a_site_fail(bench, content):
    """Whatever comes as receipts, the answer is a refusal, not a failure of the site."""
    told = bench.content(bench.order(round_number=2), bench.adapter, receipts=content, rosters=content)
    assert "its own log says why" not in refusal_of(bench.ask("site-0", "train", told))
