"""Asking twice: the server asks for a stage again, the second time with another set of survivors.

A site that opened twice would have released both kinds of share of its victim. The rule: a session answers each
stage once, also after it was written out and read back, and a session that refused answers nothing more.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector, SiteSession
from sealora_common.secagg.messages import bundle
from secagg_turned import complaining, go_on, turn
from secagg_weakened import weakened

from secagg_attacker import Attacker, told_survivors
from secagg_runs import STAGES, Federation, Run, clone_site, same

FEDERATION = Federation.of(4)
VICTIM = 0


def before(stage: str, *, restored: bool = False) -> Run:
    """A round up to a stage. A site complains of the victim, so that there is something to disclose."""
    run = Run(FEDERATION, restored=restored)
    if stage == "advertise":
        return run
    run.step("advertise")
    return go_on(turn(run, {1: complaining(VICTIM)}), stage)


def ask_twice(run: Run, again: dict[int, SiteSession]) -> RingVector | None:
    """Opens for all survivors, then asks `again` to open for all but the victim."""
    run.step("confirm")
    run.step("open")
    others = (1, 2, 3)
    confirmations = bundle([told_survivors(again[index], run.answers["mask"], others) for index in others])
    openings = [again[index].open(confirmations) for index in others]
    attacker = Attacker.watching(run)
    for opening in [*run.answers["open"].values(), *openings]:
        attacker.hears_opening(opening)
    return attacker.reads({VICTIM: run.answers["mask"][VICTIM]}, {VICTIM: set(others)})


def test_a_victim_is_read_where_sites_answer_twice() -> None:
    forgetful = weakened(
        SiteSession,
        _asked_after=("if self._state.stage not in expected:", "if False:"),
        open=("self._state = state.forgotten()", "pass"),
    )
    run = Run(FEDERATION, site_class=forgetful).until("confirm")
    read = ask_twice(run, run.sites)
    assert read is not None
    assert same(read, run.vector(VICTIM))


def test_asking_twice_is_refused() -> None:
    run = Run(FEDERATION).until("confirm")
    with pytest.raises(ProtocolError, match="each stage is answered once"):
        ask_twice(run, run.sites)


def test_a_session_rolled_back_to_an_older_state_is_as_good_as_asking_twice() -> None:
    """What no session can prevent by itself: whoever keeps its state must delete it before it answers."""
    run = Run(FEDERATION).until("confirm")
    rolled_back = {index: clone_site(site) for index, site in run.sites.items()}
    read = ask_twice(run, rolled_back)
    assert read is not None
    assert same(read, run.vector(VICTIM))


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("stage", STAGES[1:])
def test_no_stage_is_answered_twice(stage: str, restored: bool) -> None:
    run = before(stage, restored=restored)
    request = run.close(stage)[VICTIM]
    run.answer(stage, VICTIM, request)
    for again in STAGES[1 : STAGES.index(stage) + 1]:
        with pytest.raises(ProtocolError, match="each stage is answered once"):
            run.answer(again, VICTIM, request)


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_session_that_refused_a_stage_answers_nothing_more(stage: str, restored: bool) -> None:
    run = before(stage, restored=restored)
    request = run.close(stage)[VICTIM]
    with pytest.raises(ProtocolError):
        run.answer(stage, VICTIM, request[:-1])
    for later in STAGES[1:]:
        with pytest.raises(ProtocolError, match="after refused"):
            run.answer(later, VICTIM, request)


def test_a_site_that_refused_the_keys_does_not_mask_with_them() -> None:
    """A stage moved on before its checks would let the server go on after the site said no."""
    run = Run(FEDERATION).until("mask")
    requests = run.close("mask")
    refusing, own = FEDERATION.begin(VICTIM)
    keys_of_all = [run.answers["advertise"][index] for index in (1, 2, 3)]
    with pytest.raises(ProtocolError, match="two sets of keys"):
        refusing.share(bundle([own, *keys_of_all[:2], keys_of_all[1]]))
    with pytest.raises(ProtocolError, match="after refused"):
        refusing.mask(requests[VICTIM], run.vector(VICTIM))


@pytest.mark.parametrize("stage", STAGES)
def test_the_server_takes_one_answer_a_stage(stage: str) -> None:
    run = before(stage)
    run.step(stage)
    with pytest.raises(ProtocolError, match="answered a stage twice"):
        run.deliver(stage, run.answers[stage][VICTIM])
