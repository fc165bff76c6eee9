"""Messages in any order: what the server makes of a stage does not depend on who answered first, and what comes late,
twice or out of turn is refused and changes nothing."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from sealora_common.identity import SIGNATURE_BYTES
from sealora_common.secagg import ProtocolError, TooFewSitesError

from secagg_runs import STAGES, Federation, Run, clone_server, same

FEDERATION = Federation.of(4)


@pytest.fixture(scope="module")
def complete() -> dict[str, Run]:
    """A round of four frozen before every stage, with the answers of the stage that are about to come in."""
    frozen = {}
    run = Run(FEDERATION)
    for stage in STAGES:
        before = Run(FEDERATION)
        if stage != "advertise":
            run.close(stage)
        before.server = clone_server(run.server)
        if stage == "advertise":
            run.step(stage)
        else:
            run.answers[stage] = {
                index: run.answer(stage, index, request) for index, request in run.requests[stage].items()
            }
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
    if stage == "open":
        opened = probe.server.open()
        return opened.vector.pack(), opened.survivors
    return probe.close(STAGES[STAGES.index(stage) + 1])


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
    others = [(other, message) for other in STAGES if other != stage for message in _answers(complete, other)]
    expected = after(complete[stage], stage, (0, 1, 2, 3))
    probe = Run(FEDERATION)
    probe.server = clone_server(complete[stage].server)
    for index in range(4):
        for other, message in chosen.sample(others, 6):
            with pytest.raises(ProtocolError, match="out of turn"):
                probe.deliver(other, message)
            with pytest.raises(ProtocolError, match="not of this round"):
                probe.deliver(stage, message[: 40 + 64 + SIGNATURE_BYTES] if stage == "mask" else message)
        probe.deliver(stage, complete[stage].answers[stage][index])
        with pytest.raises(ProtocolError, match="twice"):
            probe.deliver(stage, complete[stage].answers[stage][index])
    if stage == "open":
        opened = probe.server.open()
        assert (opened.vector.pack(), opened.survivors) == expected
    else:
        assert probe.close(STAGES[STAGES.index(stage) + 1]) == expected


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


def _answers(complete: dict[str, Run], stage: str) -> list[bytes]:
    messages = list(complete[stage].answers[stage].values())
    return [message[: 40 + 64 + SIGNATURE_BYTES] for message in messages] if stage == "mask" else messages
