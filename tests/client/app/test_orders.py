"""A greeting, a whole round, and the wrong orders that are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flwr.app import RecordDict

from sealora_common.canonical import canonical_json
from sealora_common.round.hello import Hello
from sealora_common.secagg.keys import PUBLIC_KEY_BYTES
from sealora_common.secagg.messages import signed_bytes

from site_bench import payload_of, refusal_of

ZEROS = "0" * 64


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
    assert said == "the first round's adapter is not the one that the recipe gives: it was refused"


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


def test_an_order_that_skips_or_repeats_a_round_is_refused(bench):
    said = refusal_of(bench.begin("site-0", bench.order(round_number=2)))
    assert "does not follow from the receipts" in said
    bench.play(bench.order(round_number=1))
    bench.play(bench.order(round_number=2))
    payload_of(bench.begin("site-0", bench.order(round_number=3)))
    # The server's chain may not shrink, so no round is ordered again once its receipt was seen.
    assert "differ from this site's" in refusal_of(bench.begin("site-0", bench.order(round_number=1)))
