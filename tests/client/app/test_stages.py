"""Stages out of turn, twice, or full of garbage, and what is left of a round when it is over."""

from __future__ import annotations

import json

import pytest
from flwr.app import RecordDict

from sealora_client.round.course import Course

from site_bench import payload_of, refusal_of

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
    left = bench.contexts["site-0"].state.config_records
    assert list(left) == ["sealora-course"]  # what its log tells of the next round's time and cost
    assert set(json.loads(left["sealora-course"]["sealora-course"])) == set(Course.model_fields)


def test_once_masked_the_plain_contribution_is_gone(bench):
    _, requests = bench.play(bench.order(), until="mask")
    kept = bench.contexts["site-0"].state.config_records["sealora"]
    assert len(kept["encoded"]) > 100
    bench.stage("site-0", "mask", requests["site-0"])
    kept = bench.contexts["site-0"].state.config_records["sealora"]
    assert kept["encoded"] == b""


def test_an_order_that_is_refused_ends_the_round_before_it_too(bench):
    """Or its vector would leave, and be told of, under the other round's name."""
    _, earlier = bench.play(bench.order(), until="mask")
    refusal_of(bench.begin("site-0", bench.order(run="cd" * 16, recipe_hash="00" * 32)))
    assert "this site is in no round" in refusal_of(bench.stage("site-0", "mask", earlier["site-0"]))


def test_what_the_server_did_not_sign_ends_no_round(bench):
    _, requests = bench.play(bench.order(), until="share")
    content = bench.content(bench.order(attempt=2), bench.adapter, **{"order-signature": bytes(64)})
    assert "not signed" in refusal_of(bench.ask("site-0", "train", content))
    assert payload_of(bench.stage("site-0", "share", requests["site-0"]))
