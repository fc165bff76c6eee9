"""What an order costs, and the run that the budget does not allow."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import yaml
from flwr.app import ConfigRecord, RecordDict

from sealora_client.training.local import LocalTraining
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.round.hello import Hello

from site_bench import RUN_ID, payload_of, refusal_of

ZEROS = "0" * 64


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


def test_data_that_change_within_a_run_are_told_once_at_the_site(private_bench, caplog):
    bench = private_bench
    bench.play(bench.order(round_number=1))
    assert "its data changed" not in caplog.text
    data = bench.site.data_file
    with data.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"prompt": "And this?", "response": "That.", "split": "train"}) + "\n")
    bench.play(bench.order(round_number=2))
    bench.play(bench.order("evaluate", round_number=3))
    (told,) = [record.getMessage() for record in caplog.records if "its data changed" in record.getMessage()]
    assert told.startswith("site site-0: its data changed since round 1 of this run (")


def test_data_that_the_ledger_knew_before_it_knew_rows_have_not_changed(private_bench, caplog):
    """The ledger has another name for them then, which is no other data."""
    bench = private_bench
    plain = replace(bench.site.data.train_set, rows=())
    with bench.site.ledger() as ledger:
        event = PrivacyEvent(100.0, 0.01, 1)
        ledger.charge(dataset=plain, run="cd" * 16, round_number=1, event=event, delta=1e-3, epsilon_limit=math.inf)
        assert ledger.name_of(bench.site.data.train_set) != plain.fingerprint
    bench.play(bench.order(round_number=1))
    bench.play(bench.order(round_number=2))
    assert "its data changed" not in caplog.text
