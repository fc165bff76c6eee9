from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.canonical import canonical_json, digest
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import OrderRefusedError, PolicyError
from sealora_common.identity import Identity
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.order import RoundOrder, evaluates, layout_of, terms_of, vector_digest

from pure_sites import LAYOUT, pure_federation, pure_recipe

RECIPE = pure_recipe()
ROSTER, _ = pure_federation(RECIPE, 3)
ADAPTER = np.arange(4, dtype=np.float32)


def order(**changes) -> RoundOrder:
    issued = RoundOrder.issue(
        changes.pop("purpose", "train"),
        run="ab" * 16,
        round_number=2,
        attempt=1,
        recipe=RECIPE,
        roster=ROSTER,
        layout_digest=LAYOUT.digest,
        adapter=ADAPTER,
    )
    return issued.model_copy(update=changes)


def test_an_order_is_read_as_it_was_issued():
    issued = order()
    assert RoundOrder.parse(issued.to_bytes()) == issued
    assert issued.recipe_hash == RECIPE.hash
    assert issued.adapter_digest == vector_digest(ADAPTER)


def test_no_two_orders_are_alike_even_for_the_same_round():
    assert len({order().digest for _ in range(20)}) == 20


CHANGES = {
    "purpose": "evaluate",
    "run": "cd" * 16,
    "round_number": 3,
    "attempt": 2,
    "nonce": "0" * 32,
    "recipe_hash": "0" * 64,
    "roster_hash": "0" * 64,
    "roster_sequence": 7,
    "groups": 3,
    "layout_digest": "0" * 64,
    "adapter_digest": "0" * 64,
    "clip_range": 0.5,
    "clip_norm": 0.25,
    "history": "1" * 64,
    "release": "0.0.1",
}


def test_every_field_is_tried_below():
    assert set(CHANGES) == set(RoundOrder.model_fields) - {"version"}


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_of_an_order_enters_its_digest_and_the_terms(field):
    first = order()
    second = first.model_copy(update={field: CHANGES[field]})
    layout = ContributionLayout.of(RECIPE, LAYOUT, 3)
    assert first.digest != second.digest
    terms = [terms_of(each, RECIPE, ROSTER, layout).digest for each in (first, second)]
    assert terms[0] != terms[1]


def test_the_terms_are_the_reader_s_own_not_the_order_s_word():
    """An order may claim any recipe and roster; who works the terms out puts in its own."""
    claimed = order(recipe_hash="0" * 64, roster_hash="0" * 64)
    terms = terms_of(claimed, RECIPE, ROSTER, ContributionLayout.of(RECIPE, LAYOUT, 3))
    assert terms.recipe_hash.hex() == RECIPE.hash
    assert terms.roster_hash == ROSTER.hash


@pytest.mark.parametrize(("adversary", "threshold"), [("malicious", 3), ("curious", 2)])
def test_threshold_and_floor_follow_from_the_recipe(adversary, threshold):
    recipe = pure_recipe(sealing={"adversary": adversary})
    terms = terms_of(order(), recipe, ROSTER, ContributionLayout.of(recipe, LAYOUT, 3))
    assert (terms.threshold, terms.min_survivors) == (threshold, 3)


def encodings() -> dict[str, bytes]:
    values = order().model_dump(mode="json")
    good = order().to_bytes()
    return {
        "with a space": good.replace(b",", b", ", 1),
        "with a line end": good + b"\n",
        "with its keys in another order": json.dumps(dict(reversed(values.items())), separators=(",", ":")).encode(),
        "with a key twice": good.replace(b'{"adapter_digest"', b'{"attempt":1,"adapter_digest"'),
        "with a number as a float": good.replace(b'"round_number":2', b'"round_number":2.0'),
        "with an escaped letter": good.replace(b"train", b"tr\\u0061in"),
        "in UTF-16": good.decode().encode("utf-16"),
        "with a byte-order mark": b"\xef\xbb\xbf" + good,
        "with capital hex": good.replace(RECIPE.hash.encode(), RECIPE.hash.upper().encode()),
        "with a field too many": canonical_json({**values, "x": 1}),
        "with a field too few": canonical_json({k: v for k, v in values.items() if k != "nonce"}),
        "of another version": canonical_json({**values, "version": 2}),
        "of round 0": canonical_json({**values, "round_number": 0}),
        "of round 2^32": canonical_json({**values, "round_number": 2**32}),
        "of a negative attempt": canonical_json({**values, "attempt": -1}),
        "in no groups": canonical_json({**values, "groups": 0}),
        "in more groups than a roster has sites": canonical_json({**values, "groups": 1001}),
        "under a roster of no number": canonical_json({**values, "roster_sequence": 0}),
        "under a roster of the number 2^32": canonical_json({**values, "roster_sequence": 2**32}),
        "to do something else": canonical_json({**values, "purpose": "delete"}),
        "cut short": good[:-1],
        "empty": b"",
        "null": b"null",
        "nested too deep": b"[" * 100_000,
    }


@pytest.mark.parametrize("case", encodings())
def test_an_order_has_one_encoding(case):
    with pytest.raises(PolicyError, match=r"malformed|not in canonical form") as caught:
        RoundOrder.parse(encodings()[case])
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_raise_anything_else(content):
    with pytest.raises(PolicyError):
        RoundOrder.parse(content)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_an_order_with_one_byte_changed_is_another_order_or_none(position, value):
    good = order()
    content = bytearray(good.to_bytes())
    content[position % len(content)] = value
    try:
        read = RoundOrder.parse(bytes(content))
    except PolicyError:
        return
    assert (read == good) == (bytes(content) == good.to_bytes())


def test_the_digest_of_a_vector_is_that_of_its_little_endian_bytes():
    vector = np.array([1.0, -2.5], dtype=np.float32)
    assert vector_digest(vector) == digest(bytes.fromhex("0000803f000020c0"))
    assert vector_digest(vector.astype(">f4")) == vector_digest(vector)
    assert vector_digest(np.array([1.0, 9.0, -2.5, 9.0], dtype=np.float32)[::2]) == vector_digest(vector)
    assert vector_digest(np.array([0.0], dtype=np.float32)) != vector_digest(np.array([-0.0], dtype=np.float32))


def test_canonical_json_is_sorted_dense_and_free_of_nan():
    assert canonical_json({"b": 1, "a": [True, None, "ü"]}) == '{"a":[true,null,"ü"],"b":1}'.encode()
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"a": float("nan")})


# Which rounds evaluate, and what the round's contributions then hold.


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1, [1, 2, 3, 4, 5, 6]), (2, [1, 3, 5, 6]), (3, [1, 4, 6]), (5, [1, 6]), (100, [1, 6])],
)
def test_held_out_records_are_evaluated_first_then_every_so_many_rounds_and_at_the_end(every, expected):
    recipe = pure_recipe(rounds=5, training={"evaluate_every": every})
    found = [number for number in range(1, 6) if evaluates(order(round_number=number), recipe)]
    assert [*found, 6] == expected  # after the last round comes an evaluation of its own
    assert evaluates(order(purpose="evaluate", round_number=6), recipe)
    assert recipe.accounted_evaluations == len(expected)


def test_an_order_to_evaluate_is_one_in_any_round():
    recipe = pure_recipe(rounds=5, training={"evaluate_every": 5})
    for number in range(1, 7):
        assert evaluates(order(purpose="evaluate", round_number=number), recipe)


def test_the_layout_follows_from_the_order_s_round_and_ranges():
    recipe = pure_recipe(
        training={"evaluate_every": 2},
        lora={"aggregation": "alternating"},
        sealing={"clip_range": "auto", "rotation": True},
    )
    first, second = (order(round_number=n, clip_range=0.01, clip_norm=0.5) for n in (1, 2))
    layouts = [layout_of(each, recipe, ROSTER, LAYOUT) for each in (first, second)]
    assert [layout.parameters for layout in layouts] == [12, 16]  # B, then A
    assert ["heldout_loss" in layout.tally for layout in layouts] == [True, False]
    assert {(layout.clip_range, layout.clip_norm, layout.parties) for layout in layouts} == {(0.01, 0.5, 3)}
    assert [layout.rotation_seed for layout in layouts] == [first.nonce, second.nonce]
    evaluation = layout_of(order(purpose="evaluate", round_number=4), recipe, ROSTER, LAYOUT)
    assert (evaluation.parameters, evaluation.tally) == (0, ("weight", "heldout_loss"))


def test_an_order_carries_the_recipe_s_ranges_unless_others_are_given():
    recipe = pure_recipe(privacy={"clip_norm": 0.3})
    issue = {
        "run": "ab" * 16,
        "round_number": 1,
        "attempt": 1,
        "recipe": recipe,
        "roster": ROSTER,
        "layout_digest": LAYOUT.digest,
        "adapter": ADAPTER,
    }
    assert RoundOrder.issue("train", **issue).clip_norm == 0.3
    assert RoundOrder.issue("train", **issue, clip_norm=0.4, clip_range=2.0).clip_norm == 0.4
    assert RoundOrder.issue("train", **issue, clip_norm=0.4, clip_range=2.0).clip_range == 2.0


def test_what_the_server_did_not_sign_is_not_parsed():
    server, stranger = (Identity.create(name, SeededEntropy(name)) for name in ("server", "stranger"))
    good = order()
    assert RoundOrder.parse_signed(good.to_bytes(), good.signed_by(server), server.public_key) == good
    later = order(round_number=3)
    for content, signature in (
        (good.to_bytes(), b""),
        (good.to_bytes(), good.signed_by(stranger)),
        (good.to_bytes(), later.signed_by(server)),
        (b"nonsense", good.signed_by(server)),
    ):
        with pytest.raises(OrderRefusedError, match="is not signed by the server that this site's roster names"):
            RoundOrder.parse_signed(content, signature, server.public_key)


@pytest.mark.parametrize("own", [1, 3])
def test_an_order_deals_as_the_recipe_does_unless_it_says_otherwise(own):
    recipe = pure_recipe(sealing={"groups": own, "min_survivors": 2}, sites={"minimum": 9})
    issue = {
        "run": "ab" * 16,
        "round_number": 1,
        "attempt": 1,
        "recipe": recipe,
        "roster": ROSTER,
        "layout_digest": LAYOUT.digest,
        "adapter": ADAPTER,
    }
    assert [RoundOrder.issue("train", **issue, **more).groups for more in ({}, {"groups": 4})] == [own, 4]
