"""What a chain of receipts proves of each round: threshold-many sites confirmed it, under its terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sealora_common.errors import ReceiptError
from sealora_common.receipts.check import check_chain
from sealora_common.receipts.receipt import OpeningProof, Receipt
from sealora_common.recipe import Recipe
from sealora_common.round.groups import groups_of
from sealora_common.secagg.bodies import Survivors
from sealora_common.secagg.messages import Kind, sign

from pure_sites import pure_recipe
from quorum import Consortium, quorum, terms_for, transcript_of
from receipt_chain import ABROAD, CHAIN, HOME, NAMES, check, reopened, replaced


def test_what_a_chain_proves_is_told_round_by_round():
    (proof,) = check(CHAIN[:1])
    assert (proof.confirmed, proof.needed) == (NAMES[:3], 3)
    assert proof.openings[0].transcript == transcript_of(CHAIN[0].order)


# Invented rounds


def test_rounds_that_no_site_took_part_in_are_refused():
    """The attack that was: five rounds by sites on no roster, signed by the server alone."""
    invented = ABROAD.chain(5)
    signed = [receipt.signed_by(HOME.server) for receipt in invented]
    with pytest.raises(ReceiptError, match=r"round 1 is refused: it is under roster .* which is not at hand"):
        check(signed)


def test_a_round_that_the_server_invents_alone_is_refused():
    order = HOME.order(CHAIN)
    empty = OpeningProof(terms=terms_for(order, HOME.roster).to_bytes(), confirmations=())
    invented = Receipt.issue(order, [empty], NAMES, "f" * 64, HOME.server)
    with pytest.raises(ReceiptError, match="round 6 is refused: only 0 sites confirmed it, 3 of 4 are needed"):
        check([*CHAIN, invented])


def outsiders(order: Any) -> tuple[bytes, ...]:
    terms = terms_for(order, HOME.roster)
    return quorum(terms, HOME.roster, ABROAD.identities, NAMES, transcript_of(order)).confirmations


def beyond_the_roster(order: Any) -> tuple[bytes, ...]:
    terms = terms_for(order, HOME.roster)
    body = Survivors(transcript_of(order), (0, 1, 2, 3, 4)).to_bytes()
    return (sign(Kind.CONFIRM, body, terms, ABROAD.identities["site-0"], 4),)


def beyond_in_name(order: Any, beyond: int = 9) -> tuple[bytes, ...]:
    """Members who confirm a survivor of no roster."""
    terms = terms_for(order, HOME.roster)
    body = Survivors(transcript_of(order), (0, 1, 2, beyond)).to_bytes()
    return tuple(sign(Kind.CONFIRM, body, terms, HOME.identities[name], HOME.roster.index(name)) for name in NAMES[:3])


def mixed_sessions(order: Any) -> tuple[bytes, ...]:
    terms = terms_for(order, HOME.roster)
    one = quorum(terms, HOME.roster, HOME.identities, NAMES, transcript_of(order), NAMES[:2])
    other = quorum(terms, HOME.roster, HOME.identities, NAMES, b"u" * 32, NAMES[2:3])
    return one.confirmations + other.confirmations


def mixed_survivors(order: Any) -> tuple[bytes, ...]:
    terms = terms_for(order, HOME.roster)
    one = quorum(terms, HOME.roster, HOME.identities, NAMES, transcript_of(order), NAMES[:2])
    other = quorum(terms, HOME.roster, HOME.identities, NAMES[:3], transcript_of(order), NAMES[2:3])
    return one.confirmations + other.confirmations


def duplicate(order: Any) -> tuple[bytes, ...]:
    terms = terms_for(order, HOME.roster)
    confirming = (NAMES[0], NAMES[1], NAMES[1])
    return quorum(terms, HOME.roster, HOME.identities, NAMES, transcript_of(order), confirming).confirmations


def another_kind(order: Any) -> tuple[bytes, ...]:
    terms = terms_for(order, HOME.roster)
    body = Survivors(transcript_of(order), (0, 1, 2, 3)).to_bytes()
    return tuple(sign(Kind.OPEN, body, terms, HOME.identities[name], HOME.roster.index(name)) for name in NAMES[:3])


def of_another_attempt(order: Any) -> tuple[bytes, ...]:
    other = order.model_copy(update={"attempt": 2, "nonce": "e" * 32})
    terms = terms_for(other, HOME.roster)
    return quorum(terms, HOME.roster, HOME.identities, NAMES, transcript_of(other)).confirmations


def one_who_dropped_out(order: Any) -> tuple[bytes, ...]:
    terms = terms_for(order, HOME.roster)
    return quorum(terms, HOME.roster, HOME.identities, NAMES[:3], transcript_of(order), NAMES[1:]).confirmations


CONFIRMATIONS: dict[str, tuple[Callable[[Any], tuple[bytes, ...]], str]] = {
    "one short": (
        lambda order: CHAIN[order.round_number - 1].openings[0].confirmations[:2],
        "only 2 sites confirmed it, 3 of 4 are needed",
    ),
    "one twice": (duplicate, "it holds two confirmations of 'site-1'"),
    "by outsiders": (outsiders, "a confirm message is not signed by a site of the roster"),
    "by an outsider under a number of its own": (beyond_the_roster, "not signed by a site of the roster"),
    "over a survivor of no roster": (beyond_in_name, "a survivor that is not on the roster"),
    "over the first that is on no roster": (
        lambda order: beyond_in_name(order, len(HOME.roster)),
        "a survivor that is not on the roster",
    ),
    "over two sessions": (mixed_sessions, "different sessions or survivors"),
    "over two sets of survivors": (mixed_survivors, "different sessions or survivors"),
    "by one who dropped out": (one_who_dropped_out, "'site-3' confirmed survivors that it is none of"),
    "of another stage": (another_kind, "a confirm message is not of this round"),
    "of another attempt": (of_another_attempt, "a confirm message is not of this round"),
    "of another round": (lambda order: CHAIN[3].openings[0].confirmations, "a confirm message is not of this round"),
    "cut short": (
        lambda order: (CHAIN[order.round_number - 1].openings[0].confirmations[0][:50],),
        "a message of the sealing protocol is cut short",
    ),
}


@pytest.mark.parametrize("case", CONFIRMATIONS)
@pytest.mark.parametrize("number", [1, 3])
def test_confirmations_that_are_no_quorum_are_refused_whoever_signs_the_receipt(case, number):
    forge, said = CONFIRMATIONS[case]
    receipt = CHAIN[number - 1]
    forged = reopened(receipt, confirmations=forge(receipt.order))
    with pytest.raises(ReceiptError, match=f"the receipt of round {number} is refused: .*{said}") as caught:
        check(replaced(number, forged))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("named", [NAMES[:3], NAMES[::-1], (*NAMES[:3], "site-9"), ()])
def test_other_survivors_than_the_sites_confirmed_are_refused(named):
    forged = CHAIN[1].model_copy(update={"survivors": named}).signed_by(HOME.server)
    with pytest.raises(ReceiptError, match="round 2 is refused: it names other survivors than its sites confirmed"):
        check(replaced(2, forged))


# Terms


TERMS: dict[str, tuple[dict[str, Any], str]] = {
    "another run": ({"run": b"x" * 16}, "its terms are not those of its order and roster"),
    "another round": ({"round_number": 9}, "its terms are not those"),
    "another attempt": ({"attempt": 2}, "its terms are not those"),
    "another recipe": ({"recipe_hash": b"x" * 32}, "its terms are not those"),
    "another roster": ({"roster_hash": b"x" * 32}, "its terms are not those"),
    "another order": ({"order_digest": b"x" * 32}, "its terms are not those"),
    "a smaller roster": ({"roster_size": 3}, "its terms are not those"),
}


@pytest.mark.parametrize("case", TERMS)
def test_terms_that_are_not_the_order_s_are_refused_though_all_sites_sign_them(case):
    changes, said = TERMS[case]
    order = CHAIN[1].order
    forged = HOME.receipt(order, CHAIN[1].adapter_digest, terms=terms_for(order, HOME.roster, **changes))
    with pytest.raises(ReceiptError, match=f"round 2 is refused: {said}"):
        check(replaced(2, forged))


def test_a_threshold_below_that_of_the_roster_is_refused():
    """Five sites need three at the least; terms in which the roster has four would let two do."""
    five = Consortium(5)
    order = five.order()
    honest = terms_for(order, five.roster, threshold=3)
    check_chain([five.receipt(order, terms=honest)], five.rosters)
    lowered = bytearray(honest.to_bytes())
    position = honest.to_bytes().index(b"\x00\x05\x00\x03\x00\x02")
    lowered[position : position + 4] = b"\x00\x05\x00\x02"
    proof = OpeningProof(terms=bytes(lowered), confirmations=())
    with pytest.raises(ReceiptError, match="the terms of a round make no sense"):
        check_chain([Receipt.issue(order, [proof], five.names, "f" * 64, five.server)], five.rosters)


def test_with_the_recipe_its_own_threshold_and_floor_are_asked_for():
    malicious = pure_recipe(sealing={"adversary": "malicious"})
    curious = pure_recipe(sealing={"adversary": "curious"})
    for recipe, threshold, holds in ((malicious, 5, True), (malicious, 4, False), (curious, 4, True)):
        six = Consortium(6, recipe_hash=recipe.hash)
        order = six.order()
        receipt = six.receipt(order, terms=terms_for(order, six.roster, threshold=threshold, min_survivors=3))
        if holds:
            check_chain([receipt], six.rosters, recipe=recipe)
        else:
            with pytest.raises(ReceiptError, match=r"ask for 4 confirmations .* least of 6 sites is 5 and 3"):
                check_chain([receipt], six.rosters, recipe=recipe)
        check_chain([receipt], six.rosters)
    four = Consortium(recipe_hash=curious.hash)
    receipt = four.receipt(order := four.order(), terms=terms_for(order, four.roster, threshold=3, min_survivors=2))
    with pytest.raises(ReceiptError, match="and 2 survivors, the least of 4 sites is 3 and 3"):
        check_chain([receipt], four.rosters, recipe=curious)


# Groups


TWELVE = Consortium(12, name="twelve ")


def grouped(recipe: Recipe, groups: int, opened: int) -> list[Receipt]:
    """The first receipt of a run, of a round in groups of which the first so many were opened."""
    order = TWELVE.order(groups=groups, recipe_hash=recipe.hash)
    return [TWELVE.grouped_receipt(order, [group.names for group in groups_of(order, TWELVE.roster)[:opened]])]


@pytest.mark.parametrize(
    ("recipe", "groups"),
    [
        (pure_recipe(), 4),
        (pure_recipe(privacy={"mechanism": "local"}, sealing={"min_survivors": 5}, sites={"minimum": 5}), 4),
        (pure_recipe(sealing={"groups": 3}, sites={"minimum": 9}), 4),
    ],
    ids=["without privacy", "below the floor", "other groups than the recipe's"],
)
def test_groups_that_no_honest_site_is_dealt_into_are_refused(recipe, groups):
    """A server whom three of twelve help deals these three together: their group has a quorum of its own."""
    with pytest.raises(ReceiptError, match=rf"deals the sites into {groups} groups, which the recipe does not allow"):
        check_chain(grouped(recipe, groups, 3), TWELVE.rosters, recipe=recipe)


@pytest.mark.parametrize("with_recipe", [True, False])
def test_a_round_that_only_turned_members_may_have_confirmed_is_refused(with_recipe):
    """Three of twelve can be corrupted, and the server chooses who is dealt together."""
    recipe = pure_recipe(privacy={"mechanism": "local"})
    given = recipe if with_recipe else None
    with pytest.raises(ReceiptError, match="only 3 sites confirmed it in all groups, and of 12 as many can"):
        check_chain(grouped(recipe, 4, 1), TWELVE.rosters, recipe=given)
    check_chain(grouped(recipe, 4, 2), TWELVE.rosters, recipe=given)


def test_of_fewer_groups_than_make_a_round_stand_none_is_a_receipt():
    """Two groups' sums are signed as they should be, and of two neither outvotes the other."""
    recipe = pure_recipe(sealing={"groups": 4, "combine": "median", "min_survivors": 3}, sites={"minimum": 12})
    twelve = Consortium(12, recipe_hash=recipe.hash)
    order = twelve.order(groups=4)
    groups = [group.names for group in groups_of(order, twelve.roster)]
    check_chain([twelve.grouped_receipt(order, groups[:3])], twelve.rosters, recipe=recipe)
    for opened in (groups[1:3], groups[3:]):
        receipt = twelve.grouped_receipt(order, opened)
        with pytest.raises(ReceiptError, match=f"it opens {len(opened)} groups, too few for a round to stand"):
            check_chain([receipt], twelve.rosters, recipe=recipe)
