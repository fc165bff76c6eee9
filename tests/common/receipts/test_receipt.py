from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_common.errors import PolicyError, ReceiptError
from sealora_common.identity import Identity
from sealora_common.identity.hybrid import SigningKey
from sealora_common.receipts.receipt import (
    OpeningProof,
    Receipt,
    chain_from_bytes,
    chain_to_bytes,
    first_difference,
    history_of,
)
from sealora_common.round.order import GENESIS, RoundOrder

from quorum import Consortium

VECTORS = Path(__file__).parents[1] / "vectors"
CONSORTIUM = Consortium()
CHAIN = CONSORTIUM.chain(6)


def test_a_chain_starts_at_genesis_and_each_receipt_names_the_one_before():
    assert [receipt.previous for receipt in CHAIN] == [GENESIS, *(receipt.hash for receipt in CHAIN[:-1])]
    assert history_of([]) == GENESIS
    assert history_of(CHAIN) == CHAIN[-1].hash


def test_a_receipt_holds_as_many_confirmations_as_were_needed_and_no_more():
    (opening,) = CHAIN[0].openings
    assert len(opening.confirmations) == 3  # of four sites, against a malicious server
    assert len(CHAIN[0].survivors) == 4


CHANGES = {
    "order": CHAIN[0].order.model_copy(update={"attempt": 2}),
    "order_signature": b"a" * 64,
    "openings": (OpeningProof(terms=b"", confirmations=()),),
    "survivors": CONSORTIUM.names[:2],
    "adapter_digest": "a" * 64,
    "signature": b"a" * 64,
}


def test_every_field_is_tried_below():
    assert set(CHANGES) == set(Receipt.model_fields) - {"version"}


def test_the_hash_covers_all_but_the_signature():
    changed = [CHAIN[0].model_copy(update={field: value}).hash for field, value in CHANGES.items()]
    assert len({CHAIN[0].hash, *changed}) == len(CHANGES)
    assert CHAIN[0].model_copy(update={"signature": b"a" * 64}).hash == CHAIN[0].hash


@given(st.sampled_from(sorted(CHANGES)))
def test_the_signature_covers_every_field(field):
    assert CHAIN[0].is_signed_by(CONSORTIUM.server.public_key)
    changed = CHAIN[0].model_copy(update={field: CHANGES[field]})
    assert not changed.is_signed_by(CONSORTIUM.server.public_key)


@given(st.integers(0, 6), st.integers(0, 6))
def test_chains_of_one_world_differ_nowhere_however_long(ours, theirs):
    assert first_difference(CHAIN[:ours], CHAIN[:theirs]) is None


@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 6))
def test_the_first_difference_is_the_round_after_which_the_server_told_two_worlds(common, ours, theirs):
    forked = CONSORTIUM.chain(6 - common, CHAIN[:common], world="e")
    expected = common + 1 if min(ours, theirs) > common else None
    assert first_difference(CHAIN[:ours], forked[:theirs]) == expected
    assert first_difference(forked[:theirs], CHAIN[:ours]) == expected


@given(st.integers(0, 6))
def test_a_chain_is_read_as_it_was_written(length):
    assert chain_from_bytes(chain_to_bytes(CHAIN[:length])) == CHAIN[:length]


def malformed() -> dict[str, bytes]:
    values = CHAIN[0].model_dump(mode="json")

    def line(**changes) -> bytes:
        changed = {key: value for key, value in (values | changes).items() if value is not None}
        return json.dumps(changed, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    order, opening = values["order"], values["openings"][0]
    return {
        "a list": b"[" + line().strip() + b"]\n",
        "a field too many": line(epsilon=1),
        "a field too few": line(openings=None),
        "another version": line(version=1),
        "round 0": line(order=order | {"round_number": 0}),
        "a run that is a path": line(order=order | {"run": "../../../../etc/passwd"}),
        "capital hex": line(adapter_digest="A" * 64),
        "a signature that is no base64": line(signature="!!!!"),
        "a signature too long": line(signature="AAAA" * 3000),
        "no opening": line(openings=[]),
        "an endless confirmation": line(openings=[opening | {"confirmations": ["AAAA" * 10_000]}]),
        "spaces": json.dumps(values, sort_keys=True).encode() + b"\n",
        "an empty line": b"\n",
        "nothing that is text": b"\xff\n",
        "nested too deep": b"[" * 100_000 + b"\n",
    }


@pytest.mark.parametrize("case", malformed())
def test_a_malformed_chain_is_refused_in_one_sentence_that_names_the_line(case):
    with pytest.raises(ReceiptError, match=r"^line 2 of the receipts: .* was refused$") as caught:
        chain_from_bytes(chain_to_bytes(CHAIN[:1]) + malformed()[case])
    assert "\n" not in str(caught.value)


@given(st.integers(1, 200))
def test_a_chain_whose_last_line_is_torn_is_refused_and_the_remedy_named(cut):
    with pytest.raises(PolicyError, match=r"line 2 of the receipts is cut short.*take the line away"):
        chain_from_bytes(chain_to_bytes(CHAIN[:2])[:-cut])


def known() -> dict:
    return json.loads((VECTORS / "receipt.json").read_text(encoding="utf-8"))


def test_the_known_receipt():
    vector = known()
    order = RoundOrder(**json.loads((VECTORS / "order.json").read_text(encoding="utf-8"))["value"])
    server = Identity("server", SigningKey.from_seeds(*map(bytes.fromhex, vector["seeds"])))
    read = Receipt.from_line(vector["line"].encode())
    assert read.hash == vector["sha256"]
    assert read.is_signed_by(server.public_key)
    assert order.is_signed_by(server.public_key, read.order_signature)
    issued = Receipt.issue(order, read.openings, read.survivors, read.adapter_digest, server)
    # The half that is not drawn anew at each signing: Ed25519's.
    assert issued.order_signature[:64] == read.order_signature[:64]


def test_the_known_order():
    vector = json.loads((VECTORS / "order.json").read_text(encoding="utf-8"))
    order = RoundOrder(**vector["value"])
    assert order.to_bytes().decode() == vector["canonical"]
    assert order.digest.hex() == vector["sha256"]
    assert RoundOrder.parse(vector["canonical"].encode()) == order
