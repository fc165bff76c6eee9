"""What a site holds a server to: one history for a run, the same for all sites, under rosters that it knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.round.history import History, Told
from sealora_client.site.seen_rosters import remember_roster
from sealora_common.errors import PolicyError, ReceiptError
from sealora_common.roster.book import rosters_to_bytes

from quorum import RUN, Consortium, terms_for
from told_history import CHAIN, FLOOR, HOME, NAMES, RECIPE, lengthened, tell


def test_a_site_follows_round_after_round_and_is_told_what_it_lacks_alone(history):
    for number in range(5):
        tell(history, CHAIN[:number], since=max(0, number - 1))
        assert history.receipts == CHAIN[:number]
        assert history.count == number


@given(st.integers(0, 5), st.integers(0, 5), st.data())
def test_a_site_that_missed_rounds_catches_up_and_one_that_is_ahead_refuses(tmp_path_factory, first, second, data):
    history = History(tmp_path_factory.mktemp("site"), RUN)
    tell(history, CHAIN[:first])
    since = data.draw(st.integers(0, min(first, second)))
    if second >= first:
        tell(history, CHAIN[:second], since=since)
    else:
        with pytest.raises(PolicyError, match=f"differ from this site's from round {second + 1} on"):
            tell(history, CHAIN[:second], since=since)
    assert history.receipts == CHAIN[: max(first, second)]


def test_a_site_that_was_not_sent_all_it_lacks_says_how_many_it_has(history):
    tell(history, CHAIN[:1])
    with pytest.raises(PolicyError, match="this site has 1 receipts of this run and was sent those from round 4 on"):
        tell(history, CHAIN, since=3)
    with pytest.raises(PolicyError, match="differ from this site's in round 1 or before"):
        tell(history, CHAIN, since=5)
    assert history.receipts == CHAIN[:1]


@given(st.integers(1, 4), st.integers(0, 3))
def test_a_server_that_rewrites_the_past_is_refused_and_the_round_named(tmp_path_factory, changed, more):
    """The other past is a faultless chain, with a quorum's signatures; only this site's memory tells."""
    history = History(tmp_path_factory.mktemp("site"), RUN)
    tell(history, CHAIN[:4])
    rewritten = lengthened(CHAIN[: changed - 1], 5 - changed + more, world="e")
    with pytest.raises(PolicyError, match=f"differ from this site's from round {changed} on: the order is refused"):
        tell(history, rewritten)
    with pytest.raises(PolicyError, match="differ from this site's in round 4 or before: the order is refused"):
        tell(history, rewritten, since=4)
    assert history.receipts == CHAIN[:4]


def test_a_server_that_forgets_everything_is_refused(history):
    tell(history, CHAIN[:3])
    with pytest.raises(PolicyError, match="differ from this site's from round 1 on"):
        tell(history, [])


def test_an_old_order_played_again_is_refused(history):
    old = HOME.order(CHAIN[:1])
    tell(history, CHAIN[:1], old)
    tell(history, CHAIN[:3])
    for told in (CHAIN[:1], CHAIN[:3], []):
        with pytest.raises(PolicyError, match="differ from this site's from round 2 on"):
            tell(history, told, old)


OTHER_FOLLOWING = {
    "the history of the round before": {"history": CHAIN[1].hash},
    "no history": {"history": "0" * 64},
    "the number of the round before": {"round_number": 3},
    "a round left out": {"round_number": 5},
}


@pytest.mark.parametrize("case", OTHER_FOLLOWING)
def test_an_order_that_does_not_follow_from_its_receipts_is_refused(history, case):
    with pytest.raises(PolicyError, match="does not follow from the receipts"):
        tell(history, CHAIN[:3], HOME.order(CHAIN[:3], **OTHER_FOLLOWING[case]))
    assert history.receipts == []


def test_another_adapter_than_the_last_receipt_s_is_refused(history):
    with pytest.raises(PolicyError, match="adapter is not the one of the last receipt"):
        tell(history, CHAIN[:2], HOME.order(CHAIN[:2], adapter_digest=CHAIN[0].adapter_digest))
    tell(history, CHAIN[:2])
    with pytest.raises(PolicyError, match="adapter is not the one of the last receipt"):
        tell(history, CHAIN[:2], HOME.order(CHAIN[:2], adapter_digest=CHAIN[0].adapter_digest), since=2)


def test_receipts_that_prove_nothing_are_refused_and_nothing_is_stored(history, tmp_path):
    invented = [receipt.signed_by(HOME.server) for receipt in Consortium(name="x", recipe_hash=RECIPE.hash).chain(5)]
    changed = [CHAIN[0].model_copy(update={"survivors": NAMES[:3]}).signed_by(HOME.server)]
    low = HOME.chain(1)  # two survivors would do for it, and the recipe asks for three
    for told in (invented, changed, low):
        with pytest.raises(ReceiptError, match="receipt of round 1 is refused"):
            tell(history, told, HOME.order(CHAIN[:0], round_number=len(told) + 1))
    assert list(tmp_path.iterdir()) == []


# Rosters


def test_receipts_of_an_earlier_roster_are_checked_with_it_kept_or_told(tmp_path):
    later = Consortium(recipe_hash=RECIPE.hash)
    later.roster = later.roster_of(NAMES[:3])
    order = later.order(CHAIN[:2])
    kept, missed = History(tmp_path / "kept", RUN), History(tmp_path / "missed", RUN)
    tell(kept, CHAIN[:1])
    tell(kept, CHAIN[:2], order, since=1, roster=later.roster)
    with pytest.raises(ReceiptError, match=r"round 1 is refused: it is under roster .* not at hand"):
        tell(missed, CHAIN[:2], order, roster=later.roster)
    tell(missed, CHAIN[:2], order, roster=later.roster, rosters=[HOME.roster])
    assert kept.receipts == missed.receipts == CHAIN[:2]
    assert (tmp_path / "missed" / "receipts" / "rosters" / f"{HOME.roster.hash.hex()}.json").exists()


def test_receipts_under_another_roster_of_a_number_that_was_used_are_refused(tmp_path):
    """A coordinator that signed two of one number, and a server that shows the one to others."""
    faces = [
        HOME.roster.draft().model_copy(update={"consortium": name}).signed(HOME.coordinator)
        for name in ("one", "other")
    ]
    chains = []
    for face in faces:
        later = Consortium(recipe_hash=RECIPE.hash)
        later.roster = face
        order = later.order([])
        chains.append([later.receipt(order, terms=terms_for(order, face, **FLOOR))])
    remember_roster(tmp_path, faces[0])
    newest = Consortium(recipe_hash=RECIPE.hash)
    newest.roster = faces[0].draft().signed(HOME.coordinator)
    remember_roster(tmp_path, newest.roster)
    history = History(tmp_path, RUN)
    with pytest.raises(PolicyError, match=r"two faces: receipts are under a roster number 2 .* not the one"):
        tell(history, chains[1], newest.order(chains[1]), roster=newest.roster, rosters=[faces[1]])
    assert history.receipts == []
    tell(history, chains[0], newest.order(chains[0]), roster=newest.roster, rosters=[faces[0]])


def test_no_roster_is_taken_that_the_coordinator_did_not_sign():
    stranger = Consortium(name="x")
    ours = HOME.roster.coordinator_pin
    assert Told.parse(b"", rosters_to_bytes([HOME.roster]), coordinator=ours).rosters == (HOME.roster,)
    forged = HOME.roster.model_copy(update={"members": HOME.roster.members[:2]})
    for rosters in ([stranger.roster], [HOME.roster, forged]):
        with pytest.raises(ReceiptError, match="is not signed by this site's coordinator"):
            Told.parse(b"", rosters_to_bytes(rosters), coordinator=ours)
    with pytest.raises(ReceiptError, match="a roster that came with the receipts is malformed"):
        Told.parse(b"", b"{}\n", coordinator=ours)
