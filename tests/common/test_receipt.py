from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.entropy import SeededEntropy
from sealora_common.errors import PolicyError
from sealora_common.identity import Identity, key_from_text, signature_from_text, signature_to_text
from sealora_common.identity.hybrid import SigningKey
from sealora_common.order import GENESIS, RoundOrder
from sealora_common.receipt import (
    Receipt,
    chain_from_bytes,
    chain_to_bytes,
    check_chain,
    first_difference,
    history_of,
)

VECTORS = Path(__file__).parent / "vectors"
SERVER, STRANGER = (Identity.create(name, SeededEntropy(name)) for name in ("server", "stranger"))
RUN, RECIPE = "ab" * 16, "1" * 64
NAMES = ("berlin", "lyon", "porto")


def chain(length: int, *, run: str = RUN, world: str = "f", server: Identity = SERVER) -> list[Receipt]:
    """The receipts of `length` rounds; another `world` is other adapters."""
    receipts: list[Receipt] = []
    for number in range(1, length + 1):
        order = RoundOrder(
            purpose="train",
            run=run,
            round_number=number,
            attempt=1,
            nonce=f"{number:032x}",
            recipe_hash=RECIPE,
            roster_hash="2" * 64,
            roster_sequence=1,
            layout_digest="3" * 64,
            adapter_digest="4" * 64,
            history=history_of(receipts),
            clip_range=0.5,
            clip_norm=1.0,
        )
        receipts.append(Receipt.issue(order, NAMES, world * 64, history_of(receipts), server))
    return receipts


CHAIN, OTHER_WORLD = chain(6), chain(6, world="e")


def check(receipts: list[Receipt], **changes) -> None:
    check_chain(receipts, **({"run": RUN, "recipe_hash": RECIPE, "server_key": SERVER.public_key} | changes))


def resigned(receipt: Receipt, server: Identity = SERVER, **changes) -> Receipt:
    """A receipt with fields changed and the signature made anew."""
    changed = receipt.model_copy(update=changes)
    signature = server.sign(b"sealora receipt v1\n" + changed._signed_bytes())
    return changed.model_copy(update={"signature": signature_to_text(signature)})


def replaced(receipts: list[Receipt], number: int, receipt: Receipt) -> list[Receipt]:
    return [*receipts[: number - 1], receipt, *receipts[number:]]


@given(st.integers(0, 6))
def test_a_chain_as_it_was_issued_holds(length):
    check(CHAIN[:length])


def test_a_chain_starts_at_genesis_and_each_receipt_names_the_one_before():
    assert [receipt.previous for receipt in CHAIN] == [GENESIS, *(receipt.hash for receipt in CHAIN[:-1])]
    assert history_of([]) == GENESIS
    assert history_of(CHAIN) == CHAIN[-1].hash


CHANGES = {
    "run": "cd" * 16,
    "round_number": 9,
    "recipe_hash": "a" * 64,
    "roster_hash": "a" * 64,
    "roster_sequence": 9,
    "order_digest": "a" * 64,
    "survivors": NAMES[:2],
    "adapter_digest": "a" * 64,
    "previous": "a" * 64,
    "signature": signature_to_text(bytes(3373)),
}
TIED_TO_ITS_PLACE = ("run", "round_number", "recipe_hash", "previous")


def test_every_field_is_tried_below():
    assert set(CHANGES) == set(Receipt.model_fields) - {"version"}


@given(st.sampled_from(sorted(CHANGES)), st.integers(1, 6))
def test_a_receipt_with_a_field_changed_is_refused_and_its_round_named(field, number):
    damaged = CHAIN[number - 1].model_copy(update={field: CHANGES[field]})
    with pytest.raises(PolicyError, match=f"the receipt of round {number} does not fit the chain or is not signed"):
        check(replaced(CHAIN, number, damaged))


@given(st.sampled_from(sorted(set(CHANGES) - {"signature"})), st.integers(1, 5))
def test_a_past_that_the_server_itself_signs_anew_breaks_the_link_after_it(field, number):
    forged = resigned(CHAIN[number - 1], **{field: CHANGES[field]})
    named = number if field in TIED_TO_ITS_PLACE else number + 1
    with pytest.raises(PolicyError, match=f"round {named} does not fit"):
        check(replaced(CHAIN, number, forged))


@given(st.integers(1, 6))
def test_a_receipt_that_somebody_else_signed_is_refused(number):
    with pytest.raises(PolicyError, match=f"round {number} .* is not signed by the server"):
        check(replaced(CHAIN, number, resigned(CHAIN[number - 1], STRANGER)))


@given(st.integers(1, 5))
def test_a_chain_with_a_round_left_out_is_refused(number):
    with pytest.raises(PolicyError, match=f"round {number} does not fit"):
        check(CHAIN[: number - 1] + CHAIN[number:])


@given(st.integers(1, 5))
def test_a_chain_with_two_rounds_swapped_or_one_twice_is_refused(number):
    before, one, two, after = CHAIN[: number - 1], CHAIN[number - 1], CHAIN[number], CHAIN[number + 1 :]
    with pytest.raises(PolicyError, match=f"round {number} does not fit"):
        check([*before, two, one, *after])
    with pytest.raises(PolicyError, match=f"round {number + 1} does not fit"):
        check([*before, one, one, two, *after])


@pytest.mark.parametrize(
    "expected", [{"run": "cd" * 16}, {"recipe_hash": "a" * 64}, {"server_key": STRANGER.public_key}]
)
def test_a_whole_chain_of_another_run_recipe_or_server_is_refused(expected):
    with pytest.raises(PolicyError, match="round 1 does not fit"):
        check(CHAIN, **expected)


def test_the_hash_covers_all_but_the_signature():
    changed = [CHAIN[0].model_copy(update={field: value}).hash for field, value in CHANGES.items()]
    assert len({CHAIN[0].hash, *changed}) == len(CHANGES)
    assert CHAIN[0].model_copy(update={"signature": CHANGES["signature"]}).hash == CHAIN[0].hash


@given(st.integers(0, 6), st.integers(0, 6))
def test_chains_of_one_world_differ_nowhere_however_long(ours, theirs):
    assert first_difference(CHAIN[:ours], CHAIN[:theirs]) is None


@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 6))
def test_the_first_difference_is_the_round_after_which_the_server_told_two_worlds(common, ours, theirs):
    """Both worlds are well-formed chains: what differs is seen at once and in every round after."""
    forked = CHAIN[:common]
    for receipt in OTHER_WORLD[common:]:
        forked = [*forked, resigned(receipt, previous=history_of(forked))]
    check(forked)
    expected = common + 1 if min(ours, theirs) > common else None
    assert first_difference(CHAIN[:ours], forked[:theirs]) == expected
    assert first_difference(forked[:theirs], CHAIN[:ours]) == expected


@given(st.integers(0, 6))
def test_a_chain_is_read_as_it_was_written(length):
    assert chain_from_bytes(chain_to_bytes(CHAIN[:length])) == CHAIN[:length]


def malformed() -> dict[str, bytes]:
    values = CHAIN[0].model_dump(mode="json")
    return {
        "no list": json.dumps(values).encode(),
        "a field too many": json.dumps([{**values, "epsilon": 1}]).encode(),
        "a field too few": json.dumps([{key: value for key, value in values.items() if key != "previous"}]).encode(),
        "another version": json.dumps([{**values, "version": 2}]).encode(),
        "round 0": json.dumps([{**values, "round_number": 0}]).encode(),
        "a run that is a path": json.dumps([{**values, "run": "../../../../etc/passwd"}]).encode(),
        "capital hex": json.dumps([{**values, "previous": "A" * 64}]).encode(),
        "half a signature": json.dumps([{**values, "signature": "a" * 64}]).encode(),
        "cut short": chain_to_bytes(CHAIN)[:-2],
        "nothing": b"",
        "nested too deep": b"[" * 100_000,
    }


@pytest.mark.parametrize("case", malformed())
def test_a_malformed_chain_is_refused_in_one_sentence(case):
    with pytest.raises(PolicyError, match="the chain of receipts is malformed") as caught:
        chain_from_bytes(malformed()[case])
    assert "\n" not in str(caught.value)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_chain_with_one_byte_changed_is_refused_or_the_same(position, value):
    content = bytearray(chain_to_bytes(CHAIN[:2]))
    content[position % len(content)] = value
    try:
        read = chain_from_bytes(bytes(content))
        check(read)
    except PolicyError:
        return
    assert read == CHAIN[:2]


def test_the_known_receipt():
    known = json.loads((VECTORS / "receipt.json").read_text(encoding="utf-8"))
    order = RoundOrder(**json.loads((VECTORS / "order.json").read_text(encoding="utf-8"))["value"])
    server = Identity("server", SigningKey.from_seeds(*map(bytes.fromhex, known["seeds"])))
    value = known["value"]
    issued = Receipt.issue(order, tuple(value["survivors"]), value["adapter_digest"], value["previous"], server)
    assert json.loads(issued.model_dump_json(exclude={"signature"})) == value
    assert issued.hash == known["sha256"]
    assert issued._signed_bytes().decode() == known["canonical"]
    assert signature_from_text(issued.signature)[:64] == signature_from_text(known["signature"])[:64]
    kept = Receipt(**value, signature=known["signature"])
    assert issued.is_signed_by(key_from_text(known["public_key"]))
    assert kept.is_signed_by(key_from_text(known["public_key"]))
    assert kept.hash == issued.hash


def test_the_known_order():
    known = json.loads((VECTORS / "order.json").read_text(encoding="utf-8"))
    order = RoundOrder(**known["value"])
    assert order.to_bytes().decode() == known["canonical"]
    assert order.digest.hex() == known["sha256"]
    assert RoundOrder.parse(known["canonical"].encode()) == order
