"""Answers of a turned member that are well signed and wrong: each costs that member its place, and nobody the round."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sealora_common.secagg import ProtocolError, TooFewSitesError
from sealora_common.secagg.bodies import (
    CheckStatement,
    Disclosure,
    MaskStatement,
    Opening,
    ShareKind,
    Survivors,
    split_masked,
)
from sealora_common.secagg.messages import Kind
from secagg_turned import complaining, go_on, turn

from secagg_attacker import Attacker, body_of
from secagg_runs import STAGES, Federation, Run, same

FEDERATION = Federation.of(7)
TURNED, VICTIM = 6, 0


def wrong_check(run: Run, message: bytes) -> tuple[Kind, bytes]:
    """Complains of itself, which sent it nothing."""
    checked = CheckStatement.from_bytes(body_of(message, Kind.CHECK, FEDERATION))
    return Kind.CHECK, CheckStatement(checked.transcript, (TURNED,)).to_bytes()


def wrong_disclosure(run: Run, message: bytes) -> tuple[Kind, bytes]:
    """Under another transcript."""
    given = Disclosure.from_bytes(body_of(message, Kind.DISCLOSE, FEDERATION)).given
    return Kind.DISCLOSE, Disclosure(bytes(32), given).to_bytes()


def half_a_disclosure(run: Run, message: bytes) -> tuple[Kind, bytes]:
    """Answers no complaint at all."""
    transcript = Disclosure.from_bytes(body_of(message, Kind.DISCLOSE, FEDERATION)).transcript
    return Kind.DISCLOSE, Disclosure(transcript, {}).to_bytes()


def wrong_statement(run: Run, message: bytes) -> tuple[Kind, bytes]:
    statement = MaskStatement.from_bytes(body_of(split_masked(message)[0], Kind.MASK, FEDERATION))
    return Kind.MASK, MaskStatement(bytes(32), statement.vector_digest).to_bytes()


def wrong_survivors(run: Run, message: bytes) -> tuple[Kind, bytes]:
    survivors = Survivors.from_bytes(body_of(message, Kind.CONFIRM, FEDERATION))
    return Kind.CONFIRM, Survivors(survivors.transcript, survivors.indices[1:]).to_bytes()


def other_kind_of_share(run: Run, message: bytes) -> tuple[Kind, bytes]:
    opening = Opening.from_bytes(body_of(message, Kind.OPEN, FEDERATION))
    shares = opening.shares | {VICTIM: (ShareKind.MASK_SEED, opening.shares[VICTIM][1])}
    return Kind.OPEN, Opening(opening.transcript, opening.self_mask, shares).to_bytes()


def too_few_shares(run: Run, message: bytes) -> tuple[Kind, bytes]:
    opening = Opening.from_bytes(body_of(message, Kind.OPEN, FEDERATION))
    return Kind.OPEN, Opening(opening.transcript, opening.self_mask, {}).to_bytes()


def opening_of_another_session(run: Run, message: bytes) -> tuple[Kind, bytes]:
    opening = Opening.from_bytes(body_of(message, Kind.OPEN, FEDERATION))
    return Kind.OPEN, Opening(bytes(32), opening.self_mask, opening.shares).to_bytes()


WRONG: list[tuple[str, Callable[[Run, bytes], tuple[Kind, bytes]], str]] = [
    ("check", wrong_check, "complains of one that sent it nothing"),
    ("disclose", wrong_disclosure, "belongs to another session"),
    ("disclose", half_a_disclosure, "did not answer all complaints"),
    ("mask", wrong_statement, "masked under other keys, shares or sites"),
    ("confirm", wrong_survivors, "confirmed another set of survivors"),
    ("open", other_kind_of_share, "opened other shares than it was asked for"),
    ("open", too_few_shares, "opened other shares than it was asked for"),
    ("open", opening_of_another_session, "opened other shares than it was asked for"),
]


@pytest.mark.parametrize(("stage", "wrong", "said"), WRONG, ids=[wrong.__name__ for _, wrong, _ in WRONG])
def test_a_wrong_answer_costs_its_site_and_not_the_round(
    stage: str, wrong: Callable[[Run, bytes], tuple[Kind, bytes]], said: str
) -> None:
    run = Run(FEDERATION)
    run.step("advertise")
    go_on(turn(run, {5: complaining(TURNED)}), stage)
    answers = {index: run.answer(stage, index, request) for index, request in run.close(stage).items()}
    packed = split_masked(answers[TURNED])[1] if stage == "mask" else b""
    false = Attacker(FEDERATION).signs(TURNED, *wrong(run, answers[TURNED])) + packed
    with pytest.raises(ProtocolError, match=said):
        run.deliver(stage, false)
    for index, message in answers.items():
        if index != TURNED:
            run.deliver(stage, message)
    run.answers[stage] = answers
    if stage != "open":
        go_on(run, "open", {TURNED: stage}).step("open", {TURNED})
    opened = run.server.open()
    assert set(range(6)) <= set(opened.survivors)
    assert same(opened.vector, run.expected(opened.survivors))
    assert not run.server.faults


@pytest.mark.parametrize("stage", [stage for stage in STAGES[1:] if stage != "disclose"])
def test_a_stage_that_too_few_have_answered_is_not_closed(stage: str) -> None:
    """Four of seven, where five are needed."""
    before = STAGES[STAGES.index(stage) - 1]
    if before == "disclose":
        before = "check"
    run = Run(FEDERATION).until(before)
    run.step(before, {3, 4, 5})
    closes = "disclose" if before == "check" else stage
    with pytest.raises(TooFewSitesError, match="only 4 of 7 sites"):
        run.close(closes)


def test_a_message_of_a_later_or_an_earlier_stage_is_refused() -> None:
    run = Run(FEDERATION).until("open")
    run.close("open")
    for stage in STAGES[:-1]:
        if stage != "disclose":
            with pytest.raises(ProtocolError, match="came out of turn"):
                run.deliver(stage, run.answers[stage][0])


def test_a_stage_is_not_closed_out_of_turn() -> None:
    run = Run(FEDERATION).until("check")
    with pytest.raises(ProtocolError, match="cannot be closed as if it were another"):
        run.close("confirm")
    with pytest.raises(ProtocolError, match="cannot be closed as if it were another"):
        run.close("share")
