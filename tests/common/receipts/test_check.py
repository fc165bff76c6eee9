"""What a chain of receipts proves, by what is refused: each forged thing names the first round that does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora_common.errors import PolicyError, ReceiptError
from sealora_common.receipts.check import check_chain
from sealora_common.receipts.receipt import Receipt, chain_from_bytes, chain_to_bytes

from pure_sites import pure_recipe
from quorum import Consortium, confirmation, terms_for, transcript_of
from receipt_chain import ABROAD, CHAIN, HOME, NAMES, check, replaced


@given(st.integers(0, 5), st.integers(0, 5))
def test_a_chain_as_rounds_leave_it_holds_in_one_piece_or_two(first, then):
    check(CHAIN[:first])
    last = CHAIN[first - 1] if first else None
    proofs = check(CHAIN[first : max(first, then)], after=last)
    assert [proof.receipt for proof in proofs] == CHAIN[first : max(first, then)]


# Orders


def resigned(receipt: Receipt, server: Any = HOME.server, **changes: Any) -> Receipt:
    """A receipt with fields changed and signed anew."""
    return receipt.model_copy(update=changes).signed_by(server)


ORDERS: dict[str, tuple[Receipt, str]] = {
    "unsigned": (resigned(CHAIN[1], order_signature=b""), "its order is not signed by the roster's server"),
    "signed by another": (
        resigned(CHAIN[1], order_signature=CHAIN[1].order.signed_by(ABROAD.server)),
        "its order is not signed by the roster's server",
    ),
    "altered after it was signed": (
        resigned(CHAIN[1], order=CHAIN[1].order.model_copy(update={"nonce": "d" * 32})),
        "its order is not signed by the roster's server",
    ),
    "the signature of another": (
        resigned(CHAIN[1], order_signature=CHAIN[2].order_signature),
        "its order is not signed by the roster's server",
    ),
    "to evaluate": (HOME.receipt(HOME.order(CHAIN[:1], purpose="evaluate")), "its order is not to train"),
    "from another adapter": (
        HOME.receipt(HOME.order(CHAIN[:1], adapter_digest="9" * 64)),
        "its order's adapter is not the one of the receipt before",
    ),
    "after another receipt": (
        HOME.receipt(HOME.order(CHAIN[:1], history="9" * 64)),
        "its order does not follow from the receipt before",
    ),
    "of another run": (HOME.receipt(HOME.order(CHAIN[:1], run="cd" * 16)), "it is of another run"),
    "of another recipe": (HOME.receipt(HOME.order(CHAIN[:1], recipe_hash="9" * 64)), "it is of recipe 999999999999"),
    "of another round": (HOME.receipt(HOME.order(CHAIN[:1], round_number=3)), "in its place is one of round 3"),
}


@pytest.mark.parametrize("case", ORDERS)
def test_an_order_that_does_not_fit_is_refused_with_the_sites_own_confirmations(case):
    forged, said = ORDERS[case]
    with pytest.raises(ReceiptError, match=f"the receipt of round 2 is refused: {said}"):
        check(replaced(2, forged))


@pytest.mark.parametrize("server", [ABROAD.server, HOME.identities["site-0"]])
def test_a_receipt_that_the_server_did_not_sign_is_refused(server):
    with pytest.raises(ReceiptError, match="round 3 is refused: it is not signed by the roster's server"):
        check(replaced(3, CHAIN[2].signed_by(server)))


# Chains


@given(st.integers(1, 4))
def test_a_chain_with_a_round_cut_out_swapped_or_twice_is_refused(number):
    before, one, two, after = CHAIN[: number - 1], CHAIN[number - 1], CHAIN[number], CHAIN[number + 1 :]
    for forged, position in (
        ([*before, two, *after], number),
        ([*before, two, one, *after], number),
        ([*before, one, one, two, *after], number + 1),
    ):
        with pytest.raises(ReceiptError, match=f"round {position} is refused: in its place is one of round"):
            check(forged)


@given(st.integers(1, 4))
def test_a_past_that_server_and_sites_make_anew_together_breaks_the_link_after_it(number):
    other = HOME.receipt(HOME.order(CHAIN[: number - 1]), "e" * 64)
    with pytest.raises(ReceiptError, match=f"round {number + 1} is refused: its order does not follow"):
        check(replaced(number, other))


def test_a_chain_of_another_roster_run_or_recipe_is_refused():
    with pytest.raises(ReceiptError, match=r"round 1 is refused: it is under roster .*get the roster of that time"):
        check(CHAIN, rosters=ABROAD.rosters)
    with pytest.raises(ReceiptError, match="round 1 is refused: it is of another run"):
        check(CHAIN, run="cd" * 16)
    with pytest.raises(ReceiptError, match="round 1 is refused: it is of recipe"):
        check(CHAIN, recipe=pure_recipe())


def test_a_continuation_of_another_chain_is_refused():
    with pytest.raises(ReceiptError, match="round 3 is refused: its order does not follow"):
        check(CHAIN[2:], after=HOME.chain(2, world="e")[1])


@pytest.mark.parametrize(
    ("changes", "said"), [({"run": "cd" * 16}, "another run"), ({"recipe_hash": "9" * 64}, "recipe 9")]
)
def test_a_continuation_is_of_the_run_and_recipe_of_what_it_continues(changes, said):
    """Also when nobody says which those are: the new receipts' word is not taken for it."""
    strayed = HOME.receipt(HOME.order(CHAIN[:1], **changes))
    with pytest.raises(ReceiptError, match=f"round 2 is refused: it is of {said}"):
        check([strayed], after=CHAIN[0], run=None)


def test_a_chain_goes_on_under_a_new_roster_if_both_are_at_hand():
    later = Consortium()
    later.roster = later.roster_of(NAMES[:3])
    chain = [*CHAIN[:2], later.receipt(later.order(CHAIN[:2]))]
    check(chain, rosters=HOME.rosters | later.rosters)
    with pytest.raises(ReceiptError, match="round 3 is refused: it is under roster"):
        check(chain)


def test_a_chain_does_not_go_back_to_an_earlier_roster():
    """Members that were put out, and a server that helps them, have a quorum under the roster of their time."""
    later = Consortium()
    later.roster = HOME.roster.without_member(NAMES[3]).signed(HOME.coordinator)
    rosters = HOME.rosters | later.rosters
    chain = [*CHAIN[:2], later.receipt(later.order(CHAIN[:2]))]
    check(chain, rosters=rosters)
    back = HOME.receipt(HOME.order(chain))
    with pytest.raises(ReceiptError, match="round 4 is refused: its order goes back to an earlier roster"):
        check([*chain, back], rosters=rosters)
    with pytest.raises(ReceiptError, match="round 4 is refused: its order goes back to an earlier roster"):
        check([back], rosters=rosters, after=chain[-1])


def test_an_order_that_gives_its_roster_another_number_is_refused():
    """Two rosters of one number are found by the number that receipts tell, so it must be the roster's own."""
    receipt = HOME.receipt(HOME.order(CHAIN, roster_sequence=2))
    with pytest.raises(ReceiptError, match="under a roster of number 2, and that has number 1"):
        check([*CHAIN, receipt])


def test_a_roster_without_a_server_proves_nothing():
    roster = HOME.roster.model_copy(update={"server": None}).signed(HOME.coordinator)
    bare = Consortium()
    bare.roster = roster
    with pytest.raises(PolicyError, match="the roster names no server key"):
        check_chain([bare.receipt(bare.order())], bare.rosters)


# Any single change anywhere


@settings(max_examples=400)
@given(st.integers(0, 1_000_000), st.integers(1, 255))
def test_a_chain_with_any_one_byte_changed_is_refused(position, change):
    content = bytearray(chain_to_bytes(CHAIN[:2]))
    content[position % len(content)] ^= change
    with pytest.raises(PolicyError):
        check(chain_from_bytes(bytes(content)))


def fields(receipt: Receipt) -> dict[str, Receipt]:
    """A receipt with one field changed and all else as it was, the server's signature too."""
    order, (opening,) = receipt.order, receipt.openings
    other = {"release": "9.9", "purpose": "evaluate", "attempt": 7, "round_number": 7, "run": "7" * 32}
    other |= {"groups": 2, "roster_sequence": 7, "nonce": "7" * 32, "clip_range": 0.25, "clip_norm": 2.0, "version": 1}
    changed = {
        f"order.{name}": receipt.model_copy(
            update={"order": order.model_copy(update={name: other.get(name, "7" * 64)})}
        )
        for name in type(order).model_fields
        if name != "version"
    }
    terms = terms_for(order, HOME.roster)
    for name, value in {"threshold": 4, "min_survivors": 3, "sparse": False, "attempt": 2}.items():
        changed[f"terms.{name}"] = receipt.model_copy(
            update={"openings": (opening.model_copy(update={"terms": replace(terms, **{name: value}).to_bytes()}),)}
        )
    more = confirmation(terms, HOME.roster, HOME.identities["site-3"], NAMES, transcript_of(order))
    for name, messages in {"fewer": opening.confirmations[:-1], "more": (*opening.confirmations, more)}.items():
        changed[f"confirmations, {name}"] = receipt.model_copy(
            update={"openings": (opening.model_copy(update={"confirmations": messages}),)}
        )
    for name, value in {
        "order_signature": b"7" * 64,
        "survivors": NAMES[:3],
        "adapter_digest": "7" * 64,
        "signature": b"7" * 64,
    }.items():
        changed[name] = receipt.model_copy(update={name: value})
    return changed


FIELDS = sorted(fields(CHAIN[0]))


@given(st.sampled_from(FIELDS), st.integers(1, 5))
def test_a_chain_with_any_one_field_changed_is_refused(field, number):
    with pytest.raises(ReceiptError, match=f"the receipt of round {number} is refused"):
        check(replaced(number, fields(CHAIN[number - 1])[field]))


@given(st.sampled_from(FIELDS), st.integers(1, 4))
def test_so_is_one_that_the_server_signs_anew_there_or_in_the_round_after(field, number):
    if field == "signature":  # the one thing that the next order's history does not cover
        check(replaced(number, CHAIN[number - 1].signed_by(HOME.server)))
        return
    forged = fields(CHAIN[number - 1])[field]
    forged = forged.model_copy(update={"order_signature": forged.order.signed_by(HOME.server)}).signed_by(HOME.server)
    with pytest.raises(ReceiptError, match=f"the receipt of round ({number}|{number + 1}) is refused"):
        check(replaced(number, forged))
