"""This site's own part: what it confirmed is what a receipt must say of it."""

from __future__ import annotations

import json

import pytest

from sealora_client.round.history import History, Told
from sealora_common.errors import PolicyError, ReceiptError
from sealora_common.round.groups import groups_of
from sealora_common.round.order import most_sessions

from pure_sites import pure_recipe
from quorum import RUN, Consortium, terms_for, transcript_of
from told_history import CHAIN, FLOOR, HOME, NAMES, RECIPE, lengthened, take_part, tell


@pytest.mark.parametrize("named", [NAMES[:3], NAMES[1:]])
@pytest.mark.parametrize("later", [0, 2])
def test_a_receipt_with_other_survivors_than_this_site_confirmed_is_refused(history, named, later):
    """Though a quorum signed it, and also when the site missed the rounds after and hears of its own only now."""
    chain = take_part(history, lengthened([]))
    forged = lengthened(chain[:1], survivors=named)
    with pytest.raises(PolicyError, match="receipt of round 2 names other survivors than this site confirmed"):
        tell(history, lengthened(forged, later))
    tell(history, lengthened(chain, later))


def test_a_receipt_of_another_session_of_the_same_order_is_refused(history):
    tell(history, [])
    history.confirm(HOME.order(), b"s" * 32, NAMES)
    with pytest.raises(PolicyError, match="receipt of round 1 names another session than this site confirmed"):
        tell(history, CHAIN[:1])
    history.confirm(HOME.order(), transcript_of(HOME.order()), NAMES)  # it was in both
    tell(history, CHAIN[:1])


def test_what_was_confirmed_two_rounds_ago_is_remembered(history):
    chain = take_part(history, [])
    history.confirm(HOME.order(chain), transcript_of(HOME.order(chain)), NAMES)
    with pytest.raises(PolicyError, match="receipt of round 1 names other survivors"):
        tell(history, lengthened(lengthened([], survivors=NAMES[:3])))
    tell(history, lengthened(chain))


def test_another_attempt_may_take_the_place_of_one_that_was_confirmed_and_is_noted(history, tmp_path, caplog):
    tell(history, [])
    first = HOME.order([], attempt=2, nonce="e" * 32)
    history.confirm(first, transcript_of(first), NAMES[:3])
    tell(history, CHAIN[:1])
    (note,) = map(json.loads, (tmp_path / "receipts" / f"{RUN}.superseded.jsonl").read_text().splitlines())
    assert (note["round_number"], note["receipt_attempt"]) == (1, 1)
    assert note["receipt_order_digest"] == CHAIN[0].order.digest.hex()
    assert note["confirmed"]["order_digest"] == first.digest.hex()
    assert note["confirmed"]["survivors"] == list(NAMES[:3])
    assert "round 1: this site confirmed attempt 2, and the receipt is of attempt 1" in caplog.text


def test_a_server_that_orders_one_attempt_without_end_fills_no_disk(history):
    """Under `local` a vector may leave again as it is, which costs nothing but these lines."""
    most = most_sessions(RECIPE, HOME.roster)
    for number in range(most):
        order = HOME.order([], nonce=f"{number:032x}")
        tell(history, [], order)
        history.confirm(order, transcript_of(order), NAMES)
    with pytest.raises(PolicyError, match=f"has confirmed {most} sealed sums of this run"):
        tell(history, [], HOME.order([], nonce="f" * 32))
    tell(History(history._directory, "cd" * 16), [], HOME.order([], run="cd" * 16))


def test_another_attempt_without_a_quorum_of_its_own_takes_nobody_s_place(history, tmp_path):
    """The attack that was: a receipt for another attempt with other survivors."""
    tell(history, [])
    history.confirm(HOME.order(), transcript_of(HOME.order()), NAMES)
    other = HOME.order([], attempt=2, nonce="e" * 32)
    of_first = CHAIN[0].openings[0]
    for forged in (
        CHAIN[0].model_copy(update={"order": other, "order_signature": other.signed_by(HOME.server)}),
        HOME.receipt(other, survivors=NAMES[:3], confirming=NAMES[:2], terms=terms_for(other, HOME.roster, **FLOOR)),
        HOME.receipt(other, survivors=NAMES[:3], terms=terms_for(other, HOME.roster, **FLOOR)).model_copy(
            update={"openings": (of_first,)}
        ),
    ):
        with pytest.raises(ReceiptError, match="the receipt of round 1 is refused"):
            tell(history, [forged.signed_by(HOME.server)])
    assert history.receipts == []
    assert not (tmp_path / "receipts" / f"{RUN}.superseded.jsonl").exists()


def test_of_a_round_in_groups_a_site_knows_its_own_group_s_survivors_alone(tmp_path):
    """Those of other groups it takes from the receipt; its own group may have been left out as a whole."""
    recipe = pure_recipe(privacy={"mechanism": "local"})
    home = Consortium(count=6, name="six ", recipe_hash=recipe.hash)
    order = home.order([], groups=2)
    own, other = (group.names for group in groups_of(order, home.roster))
    mine = transcript_of(order)
    cases = [
        ([own, other], mine, own, None),
        ([other], mine, own, None),
        ([own, other], mine, own[:1], "other survivors"),
        ([own], b"\x07" * 32, own, "another session"),
    ]
    for number, (opened, transcript, confirmed, refused) in enumerate(cases):
        history = History(tmp_path / str(number), RUN)
        history.confirm(order, transcript, confirmed)
        receipt = home.grouped_receipt(order, opened)
        told = Told((receipt,), ())
        following = home.order([receipt])
        if refused is None:
            history.check(told, following, recipe, home.roster)
        else:
            with pytest.raises(PolicyError, match=f"names {refused} than this site confirmed"):
                history.check(told, following, recipe, home.roster)
