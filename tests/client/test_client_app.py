"""The site's app, asked what it should not be: wrong orders, stages out of turn, and what its refusals give away."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml
from flwr.app import ConfigRecord, RecordDict

from sealora_client.evaluation.heldout_loss import HeldoutLoss, HeldoutLossMetric
from sealora_client.round.participation import Participation
from sealora_client.site.directory import Site
from sealora_client.training.local import LocalTraining
from sealora_common.canonical import canonical_json
from sealora_common.errors import ModelError, SealoraError
from sealora_common.round.hello import Hello
from sealora_common.secagg.keys import PUBLIC_KEY_BYTES
from sealora_common.secagg.messages import signed_bytes

from site_bench import RUN_ID, Bench, payload_of, refusal_of
from tiny_federation import PRIVATE


@pytest.fixture(scope="module")
def shared_bench(tiny_base, tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), tiny_base(), rounds=3)


@pytest.fixture
def bench(shared_bench) -> Bench:
    """Sites without privacy, in no round, with no past."""
    for name, context in shared_bench.contexts.items():
        context.state = RecordDict()
        for kept in ("receipts", "outbox"):
            shutil.rmtree(shared_bench.directory(name) / kept, ignore_errors=True)
    shared_bench.receipts.clear()
    return shared_bench


@pytest.fixture
def private_bench(tiny_base, tmp_path) -> Bench:
    return Bench(tmp_path, tiny_base(), rounds=2, privacy=PRIVATE)


def test_a_greeting_says_who_and_what_model_and_nothing_of_the_data(bench):
    content = bench.ask("site-1", "query.hello", RecordDict())
    said = json.loads(payload_of(content))
    assert set(said) == {"site", "version", "recipe_hash", "roster_hash", "layout", "receipts"}
    hello = Hello.parse(payload_of(content))
    assert (hello.site, hello.recipe_hash) == ("site-1", bench.recipe.hash)
    assert hello.roster_hash == bench.roster.hash.hex()
    assert hello.adapter_layout == bench.layout


def test_a_whole_round_opens(bench):
    session, _ = bench.play(bench.order())
    assert session.open().survivors == (0, 1, 2)


def test_a_site_keeps_its_delta_until_it_is_masked(bench):
    """The answer to an order is two public keys, signed, whatever the model."""
    assert len(payload_of(bench.begin("site-0", bench.order()))) == signed_bytes(2 * PUBLIC_KEY_BYTES)


ZEROS = "0" * 64
BAD_ORDERS = {
    "another recipe": ({"recipe_hash": ZEROS}, "the order is for recipe 000000000000, this site agreed to"),
    "another roster": ({"roster_hash": ZEROS}, "another roster than this site's roster.json"),
    "another number of the roster": ({"roster_sequence": 2}, "another roster than this site's roster.json"),
    "another model": ({"layout_digest": ZEROS}, "another base model or adapter"),
    "another adapter than it says": ({"adapter_digest": ZEROS}, "adapter"),
    "a round too many": ({"round_number": 4}, "the order is for round 4 of a recipe of 3 rounds"),
    "an attempt too many": ({"attempt": 7}, "attempt 7 of a round, but with the recipe's sites.round_attempts of 3"),
    "a range too wide": ({"clip_range": 1e3}, "the order's range 1000 is none that the recipe allows"),
    "a range too narrow": ({"clip_range": 1e-300}, "the order's range 1e-300 is none that the recipe allows"),
}


@pytest.mark.parametrize("case", BAD_ORDERS)
def test_an_order_that_was_not_agreed_to_is_refused(bench, case):
    changes, said = BAD_ORDERS[case]
    assert said in refusal_of(bench.begin("site-0", bench.order(**changes)))
    assert "in no round" in refusal_of(bench.stage("site-0", "share", b""))


def test_the_last_adapter_may_be_evaluated_and_no_later_one(bench):
    for round_number in (1, 2, 3):
        bench.play(bench.order(round_number=round_number))
    order = bench.order("evaluate", round_number=4)
    assert payload_of(bench.begin("site-0", order, action="evaluate"))
    for other in (1, 3, 5):
        order = bench.order("evaluate", round_number=other)
        said = refusal_of(bench.begin("site-0", order, action="evaluate"))
        assert f"to evaluate in round {other}, but a run of 3 rounds evaluates by itself once, after the last" in said


@pytest.mark.parametrize(("purpose", "action"), [("train", "evaluate"), ("evaluate", "train")])
def test_an_order_that_comes_as_another_action_is_refused(bench, purpose, action):
    said = refusal_of(bench.begin("site-0", bench.order(purpose), action=action))
    assert f"an order to {purpose} came as {action}" in said


def adapters(bench):
    good = bench.adapter
    spoiled = good.copy()
    spoiled[3] = np.nan
    return {
        "too short": good[:-1],
        "too long": np.append(good, np.float32(0)),
        "another shape": good.reshape(2, -1),
        "in double precision": good.astype(np.float64),
        "not finite": spoiled,
    }


@pytest.mark.parametrize("case", ["too short", "too long", "another shape", "in double precision", "not finite"])
def test_an_adapter_that_is_none_is_refused(bench, case):
    adapter = adapters(bench)[case]
    order = bench.order(adapter=adapter.astype(np.float32))
    assert "adapter" in refusal_of(bench.begin("site-0", order, adapter))


def test_a_run_begins_with_the_adapter_of_the_recipe_s_seed_and_with_no_other(bench):
    chosen = bench.adapter + np.float32(1)
    said = refusal_of(bench.begin("site-0", bench.order(adapter=chosen), chosen))
    assert said == "the first round's adapter is not the one the recipe's lora.seed gives: it was refused"


@pytest.mark.parametrize("round_number", [1, 2])
def test_an_adapter_that_is_not_the_one_the_order_names_is_refused(bench, round_number):
    if round_number == 2:
        bench.play(bench.order())
    other = bench.adapter.copy()
    other[-1] = np.nextafter(other[-1], np.float32(1))
    said = refusal_of(bench.begin("site-0", bench.order(round_number=round_number), other))
    assert said == "the order's adapter is damaged: it was refused"


def test_an_adapter_that_is_no_number_is_refused_in_later_rounds_too_though_it_is_the_receipt_s(bench, monkeypatch):
    monkeypatch.setattr(bench, "adapter", bench.adapter)  # what `play` makes of it is undone
    bench.play(bench.order(), step=float("inf"))
    said = refusal_of(bench.begin("site-0", bench.order(round_number=2)))
    assert said == "the order's adapter is damaged: it was refused"


def test_an_order_without_an_adapter_is_refused(bench):
    content = bench.content(bench.order(), bench.adapter)
    del content["arrays"]
    assert "carries no float32 adapter" in refusal_of(bench.ask("site-0", "train", content))


def malformed_orders(bench) -> dict[str, bytes]:
    order = bench.order()
    values = order.model_dump(mode="json")
    return {
        "empty": b"",
        "no JSON": b"\xff\xfe",
        "a list": b"[]",
        "a field too many": canonical_json({**values, "learning_rate": 9}),
        "a field too few": canonical_json({key: value for key, value in values.items() if key != "nonce"}),
        "spaces": json.dumps(values).encode(),
        "another order of keys": json.dumps(dict(reversed(values.items())), separators=(",", ":")).encode(),
        "a key twice": order.to_bytes().replace(b'{"adapter', b'{"attempt":1,"adapter', 1),
        "another version": canonical_json({**values, "version": 2}),
        "round 0": canonical_json({**values, "round_number": 0}),
        "a number as text": canonical_json({**values, "round_number": "1"}),
        "a short nonce": canonical_json({**values, "nonce": "ab"}),
    }


@pytest.mark.parametrize(
    "case",
    [
        "empty",
        "no JSON",
        "a list",
        "a field too many",
        "a field too few",
        "spaces",
        "another order of keys",
        "a key twice",
        "another version",
        "round 0",
        "a number as text",
        "a short nonce",
    ],
)
def test_an_order_in_any_but_its_canonical_form_is_refused(bench, case):
    said = refusal_of(bench.begin("site-0", malformed_orders(bench)[case]))
    assert "malformed" in said or "not in canonical form" in said


def test_a_message_without_its_fields_is_refused(bench):
    assert "lacks its order" in refusal_of(bench.ask("site-0", "train", RecordDict()))
    bench.begin("site-0", bench.order())
    assert "lacks its payload" in refusal_of(bench.ask("site-0", "query.share", RecordDict()))


STAGES = ["share", "check", "mask", "confirm", "open"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_before_any_order_is_refused(bench, stage):
    assert "this site is in no round" in refusal_of(bench.stage("site-0", stage, b""))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_answered_once(bench, stage):
    """A server that could ask twice could ask for both kinds of share."""
    _, requests = bench.play(bench.order(), until=stage)
    assert payload_of(bench.stage("site-0", stage, requests["site-0"]))
    refusal_of(bench.stage("site-0", stage, requests["site-0"]))
    # And the refusal ends the site's part in the round.
    refusal_of(bench.stage("site-0", stage, requests["site-0"]))


@pytest.mark.parametrize(
    ("reached", "asked"),
    [
        ("share", "mask"),
        ("share", "check"),
        ("check", "mask"),
        ("check", "disclose"),
        ("share", "confirm"),
        ("share", "open"),
        ("mask", "open"),
        ("mask", "share"),
        ("confirm", "open"),
    ],
)
def test_a_stage_out_of_turn_is_refused_and_ends_the_site_s_part(bench, reached, asked):
    _, requests = bench.play(bench.order(), until=reached)
    said = refusal_of(bench.stage("site-0", asked, requests["site-0"]))
    assert "each stage is answered once, in order" in said
    assert "this site is in no round" in refusal_of(bench.stage("site-0", reached, requests["site-0"]))


def test_a_stage_of_another_site_s_round_is_refused(bench):
    """Messages of one attempt do not open another's."""
    _, first = bench.play(bench.order(attempt=1), until="share")
    bench.play(bench.order(attempt=2), until="share")
    assert "not of this round" in refusal_of(bench.stage("site-0", "share", first["site-0"]))


def test_a_new_order_replaces_the_round_that_was_under_way(bench):
    _, earlier = bench.play(bench.order(attempt=1), until="mask")
    bench.begin("site-0", bench.order(attempt=2))
    refusal_of(bench.stage("site-0", "mask", earlier["site-0"]))


def test_a_site_that_was_restarted_is_in_no_round(bench):
    _, requests = bench.play(bench.order(), until="mask")
    bench.contexts["site-0"].state = RecordDict()
    assert "it was restarted or the order came twice" in refusal_of(bench.stage("site-0", "mask", requests["site-0"]))


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00\x01", b"\xff" * 40, bytes(5000)])
@pytest.mark.parametrize("stage", STAGES)
def test_garbage_at_any_stage_is_refused_in_one_sentence(bench, stage, payload):
    bench.play(bench.order(), until=stage)
    refusal_of(bench.stage("site-0", stage, payload))


def test_nothing_is_left_of_the_round_s_secrets_when_it_is_over(bench):
    bench.play(bench.order())
    assert bench.contexts["site-0"].state.config_records == {}


def test_once_masked_the_plain_contribution_is_gone(bench):
    _, requests = bench.play(bench.order(), until="mask")
    kept = bench.contexts["site-0"].state.config_records["sealora"]
    assert len(kept["encoded"]) > 100
    bench.stage("site-0", "mask", requests["site-0"])
    kept = bench.contexts["site-0"].state.config_records["sealora"]
    assert kept["encoded"] == b""


SECRET = "patient 4711, pneumonia"
NOT_TOLD = "the site takes no part in this; its own log says why"


@pytest.mark.parametrize("error", [RuntimeError, ValueError, MemoryError, KeyError, OSError, ZeroDivisionError])
@pytest.mark.parametrize("stage", ["train", "evaluate", "hello", *STAGES])
def test_the_words_of_an_unexpected_error_stay_at_the_site(bench, monkeypatch, stage, error):
    def fail(*arguments, **rest):
        raise error(SECRET)

    if stage == "hello":
        monkeypatch.setattr(Site, "model", fail)
        content = bench.ask("site-0", "query.hello", RecordDict())
    elif stage in ("train", "evaluate"):
        if stage == "evaluate":
            for round_number in (1, 2, 3):
                bench.play(bench.order(round_number=round_number))
        monkeypatch.setattr(HeldoutLossMetric, "measure", fail)
        order = bench.order(stage, round_number=len(bench.receipts) + 1)
        content = bench.begin("site-0", order, action=stage)
    else:
        bench.play(bench.order(), until=stage)
        monkeypatch.setattr(Participation, stage, fail)
        content = bench.stage("site-0", stage, b"")
    assert refusal_of(content) == NOT_TOLD


def all_errors(base: type[SealoraError] = SealoraError) -> list[type[SealoraError]]:
    return [base, *(each for kind in base.__subclasses__() for each in all_errors(kind))]


@pytest.mark.parametrize("error", all_errors())
def test_a_sentence_travels_if_it_was_written_to_and_no_other_does(bench, monkeypatch, error, caplog):
    """Whatever kinds of error there are, or will be: of one that does not travel not even its kind is told."""
    sentence = f"31 training records of {SECRET}"

    class Raised(error):
        def __init__(self):
            Exception.__init__(self, sentence)  # some kinds take other arguments

    def fail(*arguments, **rest):
        raise Raised

    monkeypatch.setattr(LocalTraining, "train", fail)
    said = refusal_of(bench.begin("site-0", bench.order()))
    travels = {"OrderRefusedError", "ProtocolError", "ReceiptError", "TooFewSitesError"}
    assert said == (sentence if error.__name__ in travels else NOT_TOLD)
    assert "4711" in caplog.text


def test_what_makes_a_site_unfit_is_asked_before_an_order_too_whether_or_not_it_was_greeted(bench, monkeypatch):
    begun = []

    def unfit(site):
        raise ModelError("the base model mixes the examples of a batch")

    monkeypatch.setattr(Site, "prepare", unfit)
    monkeypatch.setattr(Participation, "begin", lambda *arguments: begun.append(arguments))
    refusal_of(bench.begin("site-0", bench.order()))
    refusal_of(bench.ask("site-0", "query.hello", RecordDict()))
    assert begun == []


def test_a_missing_data_file_is_not_described_to_the_server(bench, monkeypatch):
    monkeypatch.setattr(Site, "data", property(lambda self: self.records()))
    path = bench.directory("site-2") / "site.yaml"
    before = path.read_text()
    try:
        path.write_text(yaml.safe_dump(yaml.safe_load(before) | {"data": "/hospital/ward-7/patients.jsonl"}))
        said = refusal_of(bench.begin("site-2", bench.order()))
    finally:
        path.write_text(before)
    assert said == NOT_TOLD


def test_a_node_without_a_site_s_directory_says_so(bench):
    bench.contexts["site-0"].node_config = {}
    try:
        assert "has no 'site-directory'" in refusal_of(bench.ask("site-0", "query.hello", RecordDict()))
    finally:
        bench.contexts["site-0"].node_config = {"site-directory": str(bench.directory())}


def test_a_simulated_node_finds_its_directory_by_its_partition(bench, monkeypatch):
    monkeypatch.setenv("SEALORA_SIMULATED_SITES", str(bench.run / "sites"))
    context = bench.contexts["site-0"]
    context.node_config = {"partition-id": 2, "num-partitions": 3}
    try:
        assert Hello.parse(payload_of(bench.ask("site-0", "query.hello", RecordDict()))).site == "site-2"
    finally:
        context.node_config = {"site-directory": str(bench.directory())}


def test_an_order_beyond_the_budget_is_refused_before_training(private_bench, monkeypatch):
    bench = private_bench
    for round_number in (1, 2):
        bench.play(bench.order(round_number=round_number))
    trained = []
    monkeypatch.setattr(LocalTraining, "train", lambda *arguments, **rest: trained.append(1))
    said = refusal_of(bench.begin("site-0", bench.order(round_number=1, run="cd" * 16)))
    assert "privacy budget does not allow this" in said
    assert bench.site.data.train_set.fingerprint[:12] not in said
    assert trained == []
    with bench.site.ledger() as ledger:  # nor is an evaluation paid for, which alone would still fit
        assert {row.run for row in ledger.charges()} == {RUN_ID}


def test_a_run_that_does_not_fit_as_a_whole_is_refused_at_the_greeting_by_one_constant_sentence(private_bench, caplog):
    """What was charged before depends on records: the figures stay in the site's own log."""
    bench = private_bench
    for round_number in (1, 2):
        bench.play(bench.order(round_number=round_number))

    def greet(run: str) -> RecordDict:
        return bench.ask("site-0", "query.hello", RecordDict({"config": ConfigRecord({"run": run.encode()})}))

    assert refusal_of(greet("cd" * 16)) == (
        "the site's privacy budget does not allow this whole run: `sealora-site budget` at the site says why"
    )
    assert "run cdcdcdcdcdcd: the train data would reach epsilon" in caplog.text
    assert Hello.parse(payload_of(greet(RUN_ID))).site == "site-0"  # what a run has charged itself is no reason


def test_a_round_costs_once_whatever_the_policy_allows(private_bench):
    bench = private_bench
    policy = bench.directory() / "policy.yaml"
    policy.write_text(yaml.safe_dump(yaml.safe_load(policy.read_text()) | {"epsilon_limit": 1000.0}))
    for round_number in (1, 2):
        bench.play(bench.order(round_number=round_number))
    shutil.rmtree(bench.directory() / "outbox")  # so that round 2 cannot be sent again as it was
    assert "does not have it any more" in refusal_of(bench.begin("site-0", bench.order(round_number=2)))
    assert payload_of(bench.begin("site-0", bench.order(round_number=1, run="cd" * 16)))


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_held_out_loss_that_is_not_a_number_is_told_to_the_site_and_to_nobody_else(bench, monkeypatch, caplog, loss):
    """It depends on the held-out records: an answer that does too would be an unnoised release of them."""
    spoiled = HeldoutLoss(nll_sum=loss, tokens=1, by_unit=np.array([1.0, loss]))
    monkeypatch.setattr(HeldoutLossMetric, "measure", lambda *arguments: spoiled)
    bench.play(bench.order())
    assert "site site-0, round 1: 1 of 2 held-out losses are not finite and say nothing" in caplog.text
    assert "agree on bfloat16 or float32" in caplog.text
    assert json.loads((bench.directory() / "history.jsonl").read_text().splitlines()[-1])["heldout_loss"] is None


def test_an_order_that_skips_or_repeats_a_round_is_refused(bench):
    said = refusal_of(bench.begin("site-0", bench.order(round_number=2)))
    assert "does not follow from the receipts" in said
    bench.play(bench.order(round_number=1))
    bench.play(bench.order(round_number=2))
    payload_of(bench.begin("site-0", bench.order(round_number=3)))
    # The server's chain may not shrink, so no round is ordered again once its receipt was seen.
    assert "differ from this site's" in refusal_of(bench.begin("site-0", bench.order(round_number=1)))


def test_evaluating_costs_the_training_records_nothing(private_bench):
    bench = private_bench
    for round_number in (1, 2):
        bench.play(bench.order(round_number=round_number))
    bench.play(bench.order("evaluate", round_number=3))
    with bench.site.ledger() as ledger:
        assert len(ledger.charges(bench.site.data.train_set)) == 2
        assert len(ledger.charges(bench.site.data.heldout_set)) == 3
    lines = [json.loads(line) for line in (bench.directory() / "history.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["train", "train", "evaluate"]
    assert lines[1]["epsilon"] == lines[2]["epsilon"]


def test_a_site_that_is_greeted_for_another_recipe_says_which_it_has_and_judges_no_budget(private_bench):
    """Or the operator would be told of a budget where the recipes differ."""
    bench = private_bench
    for round_number in (1, 2):
        bench.play(bench.order(round_number=round_number))
    own, other = (
        RecordDict({"config": ConfigRecord({"recipe_hash": each.encode()})}) for each in (bench.recipe.hash, ZEROS)
    )
    assert "does not allow this whole run" in refusal_of(bench.ask("site-0", "query.hello", own))
    assert Hello.parse(payload_of(bench.ask("site-0", "query.hello", other))).recipe_hash == bench.recipe.hash
