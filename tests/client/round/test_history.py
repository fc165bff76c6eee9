"""What a site holds a server to: one history for a run, the same for all sites, with its own part as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealora_client.round.history import History, Told, receipts_file
from sealora_client.site.seen_rosters import remember_roster
from sealora_common.errors import PolicyError, ReceiptError
from sealora_common.receipts.receipt import Receipt, chain_to_bytes
from sealora_common.roster import Roster
from sealora_common.roster.book import rosters_to_bytes
from sealora_common.round.groups import groups_of
from sealora_common.round.order import RoundOrder, most_sessions, vector_digest
from sealora_common.secagg.messages import bundle

from pure_sites import pure_recipe
from quorum import RUN, Consortium, terms_for, transcript_of
from site_bench import Bench, payload_of, refusal_of

RECIPE = pure_recipe()
HOME = Consortium(recipe_hash=RECIPE.hash)
NAMES = HOME.names
FLOOR = {"min_survivors": 3}


def lengthened(receipts: Sequence[Receipt], rounds: int = 1, *, world: str = "f", survivors=NAMES) -> list[Receipt]:
    """The chain some rounds later; another world is other adapters."""
    grown = list(receipts)
    for _ in range(rounds):
        order = HOME.order(grown)
        digest = f"{len(grown) + 1:02x}" + world * 62
        grown.append(HOME.receipt(order, digest, survivors=survivors, terms=terms_for(order, HOME.roster, **FLOOR)))
    return grown


CHAIN = lengthened([], 5)


@pytest.fixture
def history(tmp_path) -> History:
    return History(tmp_path, RUN)


def tell(
    history: History,
    told: Sequence[Receipt],
    order: RoundOrder | None = None,
    *,
    since: int = 0,
    rosters: Sequence[Roster] = (),
    roster: Roster = HOME.roster,
) -> None:
    """Tells a site the chain `told`, from the receipt after `since` on."""
    follows = order or HOME.order(told)
    history.take(history.check(Told(tuple(told[since:]), tuple(rosters)), follows, RECIPE, roster))


def take_part(history: History, told: Sequence[Receipt], survivors=NAMES, **changes) -> list[Receipt]:
    """One round as a good server and the site do it; returns the chain after it."""
    tell(history, told)
    order = HOME.order(told, **changes)
    history.confirm(order, transcript_of(order), survivors)
    return lengthened(told, survivors=survivors)


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


# This site's own part


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


# Files


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


def test_runs_do_not_mix(tmp_path):
    tell(History(tmp_path, RUN), CHAIN[:2])
    other = History(tmp_path, "cd" * 16)
    tell(other, [], HOME.order([], run="cd" * 16))
    with pytest.raises(PolicyError, match="round 1 is refused: it is of another run"):
        tell(other, CHAIN[:2])


@pytest.mark.parametrize("file", [f"{RUN}.jsonl", f"{RUN}.confirmed.jsonl"])
@pytest.mark.parametrize("content", [b"[{}]\n", b"\xff\n", b"\n"])
def test_a_damaged_file_stops_the_site_and_is_named(tmp_path, history, file, content):
    chain = take_part(history, CHAIN[:1])
    path = tmp_path / "receipts" / file
    path.write_bytes(content)
    with pytest.raises(PolicyError) as caught:
        tell(history, chain)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.integers(1, 2000))
def test_a_last_line_that_a_kill_tore_is_written_anew(tmp_path_factory, left):
    directory = tmp_path_factory.mktemp("site")
    history = History(directory, RUN)
    tell(history, CHAIN[:2])
    path = directory / "receipts" / f"{RUN}.jsonl"
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    path.write_bytes(whole[: start + min(left, len(whole) - start - 1)])
    assert history.receipts == CHAIN[:1]
    assert history.count == 1
    tell(history, CHAIN[:3], since=1)
    assert path.read_bytes() == chain_to_bytes(CHAIN[:3])


def test_a_confirmation_that_a_kill_tore_did_not_leave(history, tmp_path):
    chain = take_part(history, [])
    path = tmp_path / "receipts" / f"{RUN}.confirmed.jsonl"
    path.write_bytes(path.read_bytes() + b'{"attempt":1,"order_di')
    tell(history, chain)
    history.confirm(HOME.order(chain), transcript_of(HOME.order(chain)), NAMES)
    assert [json.loads(line)["round_number"] for line in path.read_text().splitlines()] == [1, 2]


def test_the_newest_chain_of_a_directory_is_found(tmp_path):
    with pytest.raises(PolicyError, match="no receipts here yet"):
        receipts_file(tmp_path)
    tell(History(tmp_path, "cd" * 16), [], HOME.order([], run="cd" * 16))
    chain = take_part(History(tmp_path, RUN), CHAIN[:3])
    tell(History(tmp_path, RUN), chain)
    path = tmp_path / "receipts" / f"{RUN}.jsonl"
    assert receipts_file(tmp_path) == receipts_file(path) == path


# With real sites


@pytest.fixture(scope="module")
def played(tiny_base, tmp_path_factory) -> Bench:
    """Sites that took part in round 1."""
    bench = Bench(tmp_path_factory.mktemp("bench"), tiny_base(), rounds=3)
    bench.play(bench.order(), step=0.25)
    return bench


@pytest.fixture
def bench(played):
    """As it was after round 1, whatever the test does."""
    receipts, adapter = list(played.receipts), played.adapter
    before = {
        f"{name}-{part}": played.directory(name) / part
        for name in played.roster.names
        for part in ("receipts", "outbox")
    }
    for name, directory in before.items():
        shutil.copytree(directory, played.run / f"kept-{name}")
    yield played
    played.receipts, played.adapter = receipts, adapter
    for name, directory in before.items():
        shutil.rmtree(directory)
        shutil.move(played.run / f"kept-{name}", directory)


def other_world(bench: Bench) -> tuple[list[Receipt], np.ndarray]:
    """A second history of round 1, signed by the server as well, and its adapter."""
    adapter = bench.adapter + np.float32(1)
    changed = bench.receipts[0].model_copy(update={"adapter_digest": vector_digest(adapter)})
    return [changed.signed_by(bench.server)], adapter


def tell_two_worlds(bench: Bench) -> dict[str, bytes]:
    """Orders round 2 of site-0 and site-1 in one world and of site-2 in the other; returns what each advertised."""
    orders = {name: bench.order(round_number=2, nonce="7" * 32) for name in ("site-0", "site-1")}
    advertised = {name: payload_of(bench.begin(name, order)) for name, order in orders.items()}
    bench.receipts, bench.adapter = other_world(bench)
    advertised["site-2"] = payload_of(bench.begin("site-2", bench.order(round_number=2, nonce="7" * 32)))
    return advertised


def test_sites_that_were_told_two_worlds_get_no_sum_together(bench):
    """A server that hides it hands everybody's keys to everybody: they are keys of another round to the others."""
    advertised = tell_two_worlds(bench)
    everybody = bundle(list(advertised.values()))
    for name in advertised:
        said = refusal_of(bench.stage(name, "share", everybody))
        assert "advertise message is not of this round: it was refused" in said


def test_sites_that_were_told_one_world_do_get_a_sum(bench):
    """The same messages without the fork: the test above bites."""
    order = bench.order(round_number=2, nonce="7" * 32)
    everybody = bundle([payload_of(bench.begin(name, order)) for name in bench.roster.names])
    for name in bench.roster.names:
        assert payload_of(bench.stage(name, "share", everybody))


def test_a_site_that_knows_the_first_world_refuses_the_second(bench):
    bench.begin("site-2", bench.order(round_number=2))
    bench.receipts, bench.adapter = other_world(bench)
    said = refusal_of(bench.begin("site-2", bench.order(round_number=2)))
    assert "the server's receipts differ from this site's from round 1 on: the order is refused" in said


def test_a_receipt_with_other_survivors_than_the_sites_confirmed_reaches_no_training(bench):
    first = bench.receipts[0]
    bench.receipts = [first.model_copy(update={"survivors": first.survivors[:2]}).signed_by(bench.server)]
    for name in bench.roster.names:
        said = refusal_of(bench.begin(name, bench.order(round_number=2)))
        assert "the receipt of round 1 is refused: it names other survivors than its sites confirmed" in said


def test_another_session_than_the_sites_confirmed_reaches_no_training(bench):
    """Though all their keys were in the server's hands."""
    bench.receipts = [bench.receipt(bench.receipts[0].order, transcript=b"t" * 32)]
    for name in bench.roster.names:
        said = refusal_of(bench.begin(name, bench.order(round_number=2)))
        assert "the receipt of round 1 names another session than this site confirmed" in said


def test_a_greeting_says_how_many_receipts_of_the_run_the_site_has(bench):
    from flwr.app import ConfigRecord, RecordDict

    def told(run: bytes) -> int:
        greeting = bench.ask("site-0", "query.hello", RecordDict({"config": ConfigRecord({"run": run})}))
        return json.loads(payload_of(greeting))["receipts"]

    assert told(RUN.encode()) == 0
    payload_of(bench.begin("site-0", bench.order(round_number=2)))
    assert told(RUN.encode()) == 1
    through_a_file = f"{RUN}.jsonl/../{RUN}".encode()
    assert [told(run) for run in (b"cd" * 16, b"../" + RUN.encode(), through_a_file, b"", b"\xff")] == [0] * 5


def test_another_adapter_than_the_receipt_s_reaches_no_training(bench):
    moved = bench.adapter + np.float32(1)
    said = refusal_of(bench.begin("site-0", bench.order(round_number=2, adapter=moved), moved))
    assert "the order's adapter is not the one of the last receipt" in said


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_as_receipts_make_a_site_fail(bench, content):
    """Whatever comes as receipts, the answer is a refusal, not a failure of the site."""
    told = bench.content(bench.order(round_number=2), bench.adapter, receipts=content, rosters=content)
    assert "its own log says why" not in refusal_of(bench.ask("site-0", "train", told))
