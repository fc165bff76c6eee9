"""Messages in any order: what the server makes of a stage does not depend on who answered first, and what comes late,
twice or out of turn is refused and changes nothing."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from sealora_common.secagg import FaultKind, ProtocolError, TooFewSitesError
from sealora_common.secagg.bodies import ShareMessage, split_masked
from sealora_common.secagg.messages import unbundle

from secagg_misbehaviour import Culprits, complains_of, unusable_for
from secagg_runs import STAGES, Federation, Run, clone_server, same

FEDERATION = Federation.of(4)


@pytest.fixture(scope="module")
def complete() -> dict[str, Run]:
    """A round of four frozen before every stage, with the answers of the stage that are about to come in.

    Each site cannot use what the one before it sent, so that all four have something to disclose.
    """
    frozen = {}
    culprits = Culprits({("share", index): unusable_for((index + 1) % 4) for index in range(4)})
    run = Run(FEDERATION)
    for stage in STAGES:
        if stage != "advertise":
            run.close(stage)
        before = Run(FEDERATION)
        before.server = clone_server(run.server)
        if stage == "advertise":
            run.step(stage)
        else:
            honest = {index: run.answer(stage, index, request) for index, request in run.requests[stage].items()}
            run.answers[stage] = {index: culprits.answer(run, stage, index, each) for index, each in honest.items()}
            for message in run.answers[stage].values():
                run.deliver(stage, message)
        before.answers = dict(run.answers)
        before.vectors = run.vectors
        frozen[stage] = before
    return frozen


def after(frozen: Run, stage: str, order: tuple[int, ...]) -> object:
    """What the server makes of the stage when its messages come in this order."""
    probe = Run(FEDERATION)
    probe.server = clone_server(frozen.server)
    for index in order:
        probe.deliver(stage, frozen.answers[stage][index])
    return outcome(probe, stage)


def outcome(probe: Run, stage: str) -> object:
    """All that later stages depend on."""
    if stage == "open":
        opened = probe.server.open()
        return opened.vector.pack(), opened.survivors, opened.confirmations
    requests = probe.close(STAGES[STAGES.index(stage) + 1])
    return requests, probe.server._transcript.digest, probe.server.faults


@pytest.mark.parametrize("stage", STAGES)
def test_any_order_of_arrival_gives_the_same(complete: dict[str, Run], stage: str) -> None:
    """All 24 orders of four messages; a stage's outcome is all that the next one depends on."""
    first, *others = (after(complete[stage], stage, order) for order in permutations(range(4)))
    assert all(other == first for other in others)


@pytest.mark.parametrize("stage", STAGES)
def test_any_three_in_any_order_do_as_well(complete: dict[str, Run], stage: str) -> None:
    if stage == "open":
        sums = {after(complete[stage], stage, order) for order in permutations(range(4), 3)}
        assert len(sums) == 1
    else:
        for order in permutations(range(4), 3):
            assert after(complete[stage], stage, order) == after(complete[stage], stage, tuple(sorted(order)))


@pytest.mark.parametrize("stage", STAGES)
def test_messages_out_of_turn_are_refused_and_leave_no_trace(complete: dict[str, Run], stage: str) -> None:
    chosen = random.Random(stage)
    answers = [(other, message) for other in STAGES for message in complete["open"].answers[other].values()]
    others = [(other, message) for other, message in answers if other != stage]
    expected = after(complete[stage], stage, (0, 1, 2, 3))
    probe = Run(FEDERATION)
    probe.server = clone_server(complete[stage].server)
    for index in range(4):
        for other, message in chosen.sample(others, 6):
            with pytest.raises(ProtocolError, match="out of turn"):
                probe.deliver(other, message)
            with pytest.raises(ProtocolError, match="not of this round"):
                probe.deliver(stage, as_if_of(stage, other, message))
        probe.deliver(stage, complete[stage].answers[stage][index])
        with pytest.raises(ProtocolError, match="twice"):
            probe.deliver(stage, complete[stage].answers[stage][index])
    assert outcome(probe, stage) == expected


def as_if_of(stage: str, other: str, message: bytes) -> bytes:
    """The signed part of another stage's message, in the form in which messages of a stage come."""
    if other == "mask":
        message = split_masked(message)[0]
    elif other == "share":
        message = ShareMessage.from_bytes(message).signed
    return ShareMessage(message, {}).to_bytes() if stage == "share" else message


@pytest.mark.parametrize("complainers", [(1, 2), (1, 2, 3)])
def test_complaints_are_told_in_one_order(complainers: tuple[int, ...]) -> None:
    """Also where there are several of one site, as a request to it or as evidence of its fault."""
    culprits = Culprits({("check", index): complains_of(0) for index in complainers})
    run = Run(Federation.of(7)).until("check")
    messages = {index: run.answer("check", index, request) for index, request in run.close("check").items()}
    messages = {index: culprits.answer(run, "check", index, message) for index, message in messages.items()}
    told = []
    for order in permutations(complainers):
        probe = clone_server(run.server)
        for index in (*order, *(set(range(7)) - set(order))):
            probe.add_check(messages[index])
        requests = probe.close_checks()
        complaints = unbundle(requests[0], limit=7, message_limit=10_000) if 0 in requests else probe.faults[0].messages
        told.append(list(complaints))
        assert [fault.kind for fault in probe.faults] == ([] if 0 in requests else [FaultKind.COMPLAINTS])
    assert told == [[messages[index] for index in complainers]] * len(told)


def test_a_late_message_does_not_join_a_closed_stage() -> None:
    run = Run(FEDERATION)
    run.step("advertise", {3})
    _, late = FEDERATION.begin(3)
    run.close("share")
    with pytest.raises(ProtocolError, match="out of turn"):
        run.deliver("advertise", late)
    assert set(run.requests["share"]) == {0, 1, 2}


def test_a_stage_that_is_short_of_sites_can_wait_for_more() -> None:
    run = Run(FEDERATION)
    run.step("advertise", {2, 3})
    with pytest.raises(TooFewSitesError, match="only 2 of 4 sites are ready"):
        run.close("share")
    run.sites[2], late = FEDERATION.begin(2)
    run.deliver("advertise", late)
    for stage in STAGES[1:]:
        run.step(stage)
    opened = run.server.open()
    assert same(opened.vector, run.expected((0, 1, 2)))


@pytest.mark.parametrize("stage", STAGES[1:])
def test_stages_cannot_be_closed_out_of_order(stage: str) -> None:
    run = Run(FEDERATION).until(stage)
    for other in STAGES[1:]:
        if other != stage:
            with pytest.raises(ProtocolError, match="cannot be closed"):
                run.close(other)
    with pytest.raises(ProtocolError, match="cannot be closed"):
        run.server.open()
    run.close(stage)


def test_a_sum_opens_once() -> None:
    run = Run(FEDERATION)
    run.finish()
    with pytest.raises(ProtocolError, match="cannot be closed"):
        run.server.open()


def test_a_dropout_cannot_come_back_in_a_later_stage() -> None:
    run = Run(FEDERATION).until("confirm", {3: "mask"})
    run.close("confirm")
    complete = Run(FEDERATION).until("confirm")
    complete.step("confirm")
    with pytest.raises(ProtocolError):
        run.deliver("confirm", complete.answers["confirm"][3])
