"""The server's session: one bad message costs one site, who cheats is left out and named, memory is one accumulator."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sealora_common.secagg import FaultKind, ProtocolError, RingVector, Segment, TooFewSitesError
from sealora_common.secagg.bodies import (
    Advertisement,
    CheckStatement,
    Disclosure,
    MaskStatement,
    Opening,
    ShareKind,
    ShareMessage,
    ShareStatement,
    Survivors,
    split_masked,
)
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Kind

from secagg_misbehaviour import Culprits, body_of, complains_of, discloses, made_up, signed, unusable_for
from secagg_runs import STAGES, Federation, Run, same

FEDERATION = Federation.of(4)
SPARSE = Federation.of(6, "curious", small_graph=Neighbourhood(3, 3))


def goes_on_without(run: Run, stage: str, bad: bytes, match: str) -> None:
    """The server refuses site 0's message; the round goes on with the others', and takes a good one after all."""
    messages = {index: run.answer(stage, index, request) for index, request in run.close(stage).items()}
    run.answers[stage] = messages
    with pytest.raises(ProtocolError, match=match):
        run.deliver(stage, bad)
    for index in (1, 2, 3):
        run.deliver(stage, messages[index])
    for later in STAGES[STAGES.index(stage) + 1 :]:
        run.step(later)
    opened = run.server.open()
    assert same(opened.vector, run.expected(opened.survivors))
    assert run.server.faults == []


# --- advertisements


@pytest.mark.parametrize(
    "change",
    [
        lambda own, _: Advertisement(own.share_public, own.share_public),
        lambda own, other: Advertisement(own.share_public, other.share_public),
        lambda own, other: Advertisement(own.share_public[:1184] + other.mask_public[1184:], own.mask_public),
        lambda own, other: Advertisement(other.share_public[:1184] + own.share_public[1184:], own.mask_public),
        lambda own, _: Advertisement(own.share_public, own.mask_public[:1184] + bytes(32)),
        lambda own, _: Advertisement(own.share_public[:-1] + b"\xff", own.mask_public),
        lambda own, _: Advertisement(own.share_public, b"\xff" * 3 + own.mask_public[3:]),
    ],
    ids=["twice", "another's", "half another's", "other half", "small order", "another spelling", "modulus"],
)
def test_keys_that_every_site_would_refuse_cost_their_site(
    change: Callable[[Advertisement, Advertisement], Advertisement],
) -> None:
    run = Run(FEDERATION)
    messages = {index: FEDERATION.begin(index)[1] for index in (0, 1)}
    own, other = (Advertisement.from_bytes(body_of(FEDERATION, messages[index], Kind.ADVERTISE)) for index in (0, 1))
    run.deliver("advertise", messages[1])
    with pytest.raises(ProtocolError, match="every site would refuse: it is left out"):
        run.deliver("advertise", signed(FEDERATION, 0, Kind.ADVERTISE, change(own, other).to_bytes()))
    assert run.deliver("advertise", messages[0]) == 0


# --- shares


def reshared(
    run: Run, message: bytes, change: Callable[[ShareStatement], ShareStatement], federation: Federation = FEDERATION
) -> bytes:
    share = ShareMessage.from_bytes(message)
    statement = change(ShareStatement.from_bytes(body_of(federation, share.signed, Kind.SHARE)))
    return ShareMessage(signed(federation, 0, Kind.SHARE, statement.to_bytes()), share.envelopes).to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda statement: replace(statement, keys_digest=bytes(32)),
        lambda statement: replace(statement, envelopes=statement.envelopes[::-1]),
        lambda statement: replace(statement, envelopes=(bytes(32), *statement.envelopes[1:])),
    ],
    ids=["keys", "order", "digest"],
)
def test_a_statement_that_does_not_fit_costs_its_site(change: Callable[[ShareStatement], ShareStatement]) -> None:
    run = Run(FEDERATION).until("share")
    message = run.answer("share", 0, run.close("share")[0])
    with pytest.raises(ProtocolError, match="not those of its statement: it is left out"):
        run.deliver("share", reshared(run, message, change))


@pytest.mark.parametrize("neighbours", [(1, 2), (1, 2, 9), (0, 1, 2), (0, 1, 2, 3)])
def test_a_site_shares_with_as_many_of_the_others_as_it_should(neighbours: tuple[int, ...]) -> None:
    run = Run(FEDERATION).until("share")
    message = run.answer("share", 0, run.close("share")[0])

    def change(statement: ShareStatement) -> ShareStatement:
        rows = [0, 1, 2, 2][: len(neighbours)]
        return replace(
            statement,
            neighbours=neighbours,
            envelopes=tuple(statement.envelopes[row] for row in rows),
            committed=tuple(statement.committed[row] for row in rows),
        )

    with pytest.raises(ProtocolError, match="with as many of the others as it should"):
        run.deliver("share", reshared(run, message, change))


def test_envelopes_are_for_the_neighbours_alone() -> None:
    run = Run(FEDERATION).until("share")
    share = ShareMessage.from_bytes(run.answer("share", 0, run.close("share")[0]))
    one, two, three = (share.envelopes[index] for index in (1, 2, 3))
    for envelopes in ({1: one, 2: two}, share.envelopes | {0: one}, {1: one, 2: two, 9: three}, {}):
        with pytest.raises(ProtocolError, match="not those of its statement"):
            run.deliver("share", ShareMessage(share.signed, envelopes).to_bytes())


# --- checks


def test_a_check_of_another_session_costs_its_site() -> None:
    run = Run(FEDERATION).until("check")
    bad = signed(FEDERATION, 0, Kind.CHECK, CheckStatement(bytes(32), ()).to_bytes())
    goes_on_without(run, "check", bad, "checked other keys or shares: it is left out")


@pytest.mark.parametrize("complaints", [(0,), (9,), (1, 65535)])
def test_a_complaint_of_who_sent_nothing_costs_the_complainer(complaints: tuple[int, ...]) -> None:
    run = Run(FEDERATION).until("check")
    requests = run.close("check")
    body = CheckStatement(run.server._transcript.shared_digest, complaints).to_bytes()
    with pytest.raises(ProtocolError, match="complains of one that sent it nothing: it is left out"):
        run.deliver("check", signed(FEDERATION, 0, Kind.CHECK, body))
    assert run.deliver("check", run.answer("check", 0, requests[0])) == 0


def test_a_complaint_of_a_site_that_did_not_draw_the_complainer_costs_it() -> None:
    run = Run(SPARSE).until("check")
    run.close("check")
    transcript = run.server._transcript
    site, stranger = next(
        (site, other) for site in range(6) for other in range(6) if site != other and not transcript.drew(other, site)
    )
    body = CheckStatement(transcript.shared_digest, (stranger,)).to_bytes()
    with pytest.raises(ProtocolError, match="sent it nothing"):
        run.deliver("check", signed(SPARSE, site, Kind.CHECK, body))


def test_who_shared_nothing_cannot_check() -> None:
    run = Run(FEDERATION).until("check", {3: "share"})
    run.close("check")
    body = CheckStatement(run.server._transcript.shared_digest, ()).to_bytes()
    with pytest.raises(ProtocolError, match="checked other keys or shares"):
        run.deliver("check", signed(FEDERATION, 3, Kind.CHECK, body))


# --- complaints and disclosures


def test_a_complaint_is_told_to_the_accused_alone_and_its_answer_to_the_complainer() -> None:
    run = Culprits({("share", 1): unusable_for(2)}).join(Run(FEDERATION))
    opened = run.finish()
    assert run.requests["disclose"].keys() == {1}
    lengths = {index: len(request) for index, request in run.requests["mask"].items()}
    assert lengths[2] > lengths[0] == lengths[1] == lengths[3]
    assert same(opened.vector, run.expected(range(4)))
    assert run.server.faults == []


@pytest.mark.parametrize("accused_is", ["silent", "gone before it checked"])
def test_who_does_not_answer_complaints_is_left_out_and_not_accused(accused_is: str) -> None:
    run = Culprits({("share", 1): unusable_for(2)}).join(Run(FEDERATION))
    opened = run.finish({1: "disclose" if accused_is == "silent" else "check"})
    assert opened.survivors == (0, 2, 3)
    assert same(opened.vector, run.expected((0, 2, 3)))
    assert run.server.faults == []
    assert set(run.requests["disclose"]) == ({1} if accused_is == "silent" else set())


def test_who_did_not_check_discloses_nothing() -> None:
    run = Culprits({("share", 1): unusable_for(2)}).join(Run(FEDERATION)).until("disclose", {1: "check"})
    run.close("disclose")
    with pytest.raises(ProtocolError, match="belongs to another session"):
        run.deliver("disclose", unasked(run, 2))


def test_a_complainer_that_is_gone_is_answered_all_the_same() -> None:
    run = Culprits({("share", 1): unusable_for(2)}).join(Run(FEDERATION))
    opened = run.finish({2: "disclose"})
    assert opened.survivors == (0, 1, 3)
    assert same(opened.vector, run.expected((0, 1, 3)))


def test_more_complaints_than_can_be_corrupted_leave_a_site_out_and_name_it() -> None:
    run = Culprits({("share", 1): unusable_for(2, 3)}).join(Run(FEDERATION))
    opened = run.finish()
    assert run.requests["disclose"] == {}
    assert opened.survivors == (0, 2, 3)
    assert same(opened.vector, run.expected((0, 2, 3)))
    assert [(fault.site, fault.kind) for fault in run.server.faults] == [(1, FaultKind.COMPLAINTS)]


def test_a_false_disclosure_leaves_a_site_out_and_names_it() -> None:
    tricks = {("share", 1): unusable_for(2), ("disclose", 1): discloses(lambda given: dict.fromkeys(given, made_up()))}
    run = Culprits(tricks).join(Run(FEDERATION)).until("disclose")
    with pytest.raises(ProtocolError, match="other shares than it committed to: it is left out"):
        run.step("disclose")
    for stage in ("mask", "confirm", "open"):
        run.step(stage)
    assert run.server.open().survivors == (0, 2, 3)
    assert [(fault.site, fault.kind) for fault in run.server.faults] == [(1, FaultKind.DISCLOSURE)]


def unasked(run: Run, *holders: int) -> bytes:
    """Site 1's true disclosure of what it gave to these."""
    given = {holder: run.sites[1]._state.given[holder] for holder in holders}
    body = Disclosure(run.server._transcript.shared_digest, given).to_bytes()
    return signed(run.federation, 1, Kind.DISCLOSE, body)


def test_a_site_that_was_shown_to_cheat_does_not_go_on_by_disclosing_after_all() -> None:
    run = Culprits({("share", 1): unusable_for(2, 3)}).join(Run(FEDERATION)).until("disclose")
    run.close("disclose")
    with pytest.raises(ProtocolError, match="left out"):
        run.deliver("disclose", unasked(run, 2, 3))
    assert set(run.close("mask")) == {0, 2, 3}

    run = Culprits({("share", 1): unusable_for(2)}).join(Run(FEDERATION)).until("disclose")
    run.close("disclose")
    false = Disclosure(run.server._transcript.shared_digest, {2: made_up()}).to_bytes()
    for message in (signed(FEDERATION, 1, Kind.DISCLOSE, false), unasked(run, 2)):
        with pytest.raises(ProtocolError, match="left out"):
            run.deliver("disclose", message)
    assert set(run.close("mask")) == {0, 2, 3}


def test_a_disclosure_answers_all_complaints_and_no_others() -> None:
    run = Culprits({("share", 1): unusable_for(2, 3)}).join(Run(Federation.of(7))).until("disclose")
    run.close("disclose")
    for holders in ((2,), (3,), (2, 3, 4), ()):
        with pytest.raises(ProtocolError, match="did not answer all complaints"):
            run.deliver("disclose", unasked(run, *holders))
    assert run.deliver("disclose", unasked(run, 2, 3)) == 1
    assert set(run.close("mask")) == set(range(7))
    assert run.server.faults == []


def test_nobody_discloses_what_nobody_asked_for() -> None:
    run = Run(FEDERATION).until("disclose")
    run.close("disclose")
    with pytest.raises(ProtocolError, match="did not answer all complaints"):
        run.deliver("disclose", unasked(run, 2))


def test_a_disclosure_of_another_session_is_refused() -> None:
    run = Culprits({("share", 1): unusable_for(2)}).join(Run(FEDERATION)).until("disclose")
    run.close("disclose")
    given = {2: run.sites[1]._state.given[2]}
    with pytest.raises(ProtocolError, match="belongs to another session"):
        run.deliver("disclose", signed(FEDERATION, 1, Kind.DISCLOSE, Disclosure(bytes(32), given).to_bytes()))


def test_too_few_sites_with_usable_shares_end_the_round() -> None:
    tricks = {("check", 1): complains_of(0), ("check", 0): complains_of(1)}
    run = Culprits(tricks).join(Run(FEDERATION)).until("mask", {0: "disclose", 1: "disclose"})
    with pytest.raises(TooFewSitesError, match="of 4 sites have shares that the others can use, 3 are needed"):
        run.close("mask")


# --- vectors, confirmations, openings


@pytest.mark.parametrize("change", ["transcript", "digest", "vector", "length"])
def test_a_vector_that_is_not_the_one_that_was_signed_costs_its_site(change: str) -> None:
    run = Run(FEDERATION).until("mask")
    requests = run.close("mask")
    message = run.answer("mask", 0, requests[0])
    statement, packed = split_masked(message)
    said = MaskStatement.from_bytes(body_of(FEDERATION, statement, Kind.MASK))
    bad = {
        "transcript": signed(FEDERATION, 0, Kind.MASK, replace(said, transcript=bytes(32)).to_bytes()) + packed,
        "digest": signed(FEDERATION, 0, Kind.MASK, replace(said, vector_digest=bytes(32)).to_bytes()) + packed,
        "vector": message[:-1] + bytes([message[-1] ^ 1]),
        "length": message[:-1],
    }[change]
    with pytest.raises(ProtocolError, match="refused"):
        run.deliver("mask", bad)
    assert not any(np.any(words) for words in run.server._sum.words)
    assert run.server.survivors == ()
    assert run.deliver("mask", message) == 0


def test_a_site_that_does_not_go_on_sends_no_vector() -> None:
    run = Run(FEDERATION).until("mask", {3: "check"})
    run.close("mask")
    said = MaskStatement(run.server._transcript.digest, bytes(32)).to_bytes()
    with pytest.raises(ProtocolError, match="other keys, shares or sites"):
        run.deliver("mask", signed(FEDERATION, 3, Kind.MASK, said) + bytes(18))


@pytest.mark.parametrize("told", [(0, 1, 2), (0, 1, 2, 3, 4), ()])
def test_another_set_of_survivors_costs_its_site(told: tuple[int, ...]) -> None:
    run = Run(FEDERATION).until("confirm")
    body = Survivors(run.server._transcript.digest, told).to_bytes()
    goes_on_without(run, "confirm", signed(FEDERATION, 0, Kind.CONFIRM, body), "another set of survivors")


def test_who_sent_no_vector_confirms_nothing() -> None:
    run = Run(FEDERATION).until("confirm", {3: "mask"})
    run.close("confirm")
    body = Survivors(run.server._transcript.digest, (0, 1, 2)).to_bytes()
    with pytest.raises(ProtocolError, match="another set of survivors"):
        run.deliver("confirm", signed(FEDERATION, 3, Kind.CONFIRM, body))


@pytest.mark.parametrize("change", ["missing", "extra", "other kind", "transcript"])
def test_an_opening_of_other_shares_costs_its_site(change: str) -> None:
    run = Run(FEDERATION).until("open")
    messages = {index: run.answer("open", index, each) for index, each in run.close("open").items()}
    opening = Opening.from_bytes(body_of(FEDERATION, messages[0], Kind.OPEN))
    shares = opening.shares
    bad = {
        "missing": replace(opening, shares={owner: shares[owner] for owner in (1, 3)}),
        "extra": replace(opening, shares=shares | {9: shares[2]}),
        "other kind": replace(opening, shares=shares | {2: (ShareKind.MASK_SEED, shares[2][1])}),
        "transcript": replace(opening, transcript=bytes(32)),
    }[change]
    with pytest.raises(ProtocolError, match="other shares than it was asked for"):
        run.deliver("open", signed(FEDERATION, 0, Kind.OPEN, bad.to_bytes()))
    for index in (1, 2, 3):
        run.deliver("open", messages[index])
    assert same(run.server.open().vector, run.expected(range(4)))
    assert run.server.faults == []


def test_nothing_is_opened_with_too_few_openings() -> None:
    run = Run(FEDERATION).until("open")
    run.step("open", {0, 1})
    with pytest.raises(TooFewSitesError, match="nothing was opened"):
        run.server.open()


def test_survivors_are_those_whose_vectors_came_in() -> None:
    run = Run(FEDERATION).until("confirm", {1: "mask"})
    assert run.server.survivors == (0, 2, 3)


def test_the_sum_comes_with_what_its_survivors_signed() -> None:
    run = Run(FEDERATION)
    opened = run.finish({1: "mask"})
    assert list(opened.confirmations) == [run.answers["confirm"][index] for index in (0, 2, 3)]
    expected = Survivors(run.server._transcript.digest, (0, 2, 3))
    for message in opened.confirmations:
        assert Survivors.from_bytes(body_of(FEDERATION, message, Kind.CONFIRM)) == expected


def test_memory_does_not_grow_with_the_sites() -> None:
    """The server holds one accumulator: its peak with 24 sites is near that with 6."""
    segments = (Segment(200_000, 16),)
    peaks = {}
    for size in (6, 24):
        federation = Federation.of(size, segments=segments)
        run = Run(federation).until("mask")
        requests = run.close("mask")
        run.vectors = dict.fromkeys(range(size), RingVector.zeros(segments))
        messages = [run.answer("mask", index, request) for index, request in requests.items()]
        tracemalloc.start()
        for message in messages:
            run.deliver("mask", message)
        peaks[size] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[24] < 1.1 * peaks[6]
