"""What a run's events come to, however they are cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sealora_common.records.event_log import EventLog, Recorded
from sealora_common.records.events import (
    EvaluationFinished,
    Event,
    RoundAborted,
    RoundFinished,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunStarted,
    SiteBlamed,
    SiteFailed,
    SiteReplied,
    SitesReady,
    Stage,
    TooFewSites,
    TurnedAway,
)
from sealora_common.records.fold import StateTail, fold
from sealora_common.records.run_state import Bytes, RunState, Spent

STARTED = RunStarted(name="n", run_id="r", rounds=2, recipe_hash="h", epsilon=8.0, delta=1e-5, mechanism="local")
AWAY = TurnedAway(site="d", node=4, reason="no budget")
READY = SitesReady(sites=("a", "b", "c"), turned_away=(AWAY,))
FAILED = SiteFailed(round=1, stage="train", site="c", reason="r")
TRAIN = Stage(round=1, stage="train", sites=3)


def replied(site: str, stage: str = "train", number: int = 1) -> SiteReplied:
    return SiteReplied.model_validate(
        {"round": number, "stage": stage, "site": site, "bytes_up": 10, "bytes_down": 100}
    )


def finished(number: int, loss: float | None = 2.0) -> RoundFinished:
    return RoundFinished(round=number, survivors=("a", "b"), heldout_loss=loss, seconds=7.0, adapter_sha256=f"{number}")


ENDED = RunFinished(seconds=1.0, heldout_loss_before=2.0, heldout_loss_after=1.0, adapter_sha256="end")
EVENTS: tuple[Event, ...] = (
    STARTED,
    STARTED.model_copy(update={"first_round": 2}),
    READY,
    TooFewSites(sites=("a",)),
    TRAIN,
    Stage(round=1, stage="share", sites=2),
    Stage(round=3, stage="evaluate", sites=2),
    replied("a"),
    replied("b"),
    FAILED,
    SiteBlamed(round=1, attempt=1, site="b", reason="r", evidence="e"),
    RoundAborted(round=1, attempt=1, reason="r"),
    finished(1),
    finished(2, None),
    EvaluationFinished(heldout_loss=1.0, survivors=("a",)),
    ENDED,
    RunFailed(reason="the disk is full"),
    RunInterrupted(round=2),
)


def at_seconds(*events: Event) -> list[Recorded]:
    """The events, one a second."""
    return [Recorded(time=float(second), event=event) for second, event in enumerate(events)]


@given(st.lists(st.sampled_from(EVENTS), max_size=30), st.data())
def test_a_log_read_in_pieces_comes_to_the_same(events: list[Event], data: st.DataObject) -> None:
    entries = at_seconds(*events)
    cut = data.draw(st.integers(0, len(entries)))
    before = fold(RunState(roster=("a", "b")), entries[:cut])
    kept = repr(before)
    assert fold(before, entries[cut:]) == fold(RunState(roster=("a", "b")), entries)
    assert repr(before) == kept  # a state that somebody draws does not change under the pen


def test_a_run_from_start_to_end() -> None:
    events = (READY, TRAIN, replied("a"), FAILED, Stage(round=1, stage="share", sites=1), replied("a", "share"))
    events += (finished(1), finished(2), EvaluationFinished(heldout_loss=1.0, survivors=("a",)), ENDED)
    state = fold(RunState(), at_seconds(STARTED, *events))
    assert (state.ended, state.is_complete, state.is_evaluated, state.rounds_finished) == ("finished", True, True, 2)
    assert state.heldout_losses == {0: 2.0, 1: 2.0, 2: 1.0}
    assert state.bytes == Bytes(20, 200)
    assert state.bytes_of_sites == {"a": Bytes(20, 200)}
    assert state.bytes_of_rounds == {1: Bytes(20, 200)}
    assert state.stage_seconds == {"train": Spent(1, 3.0), "share": Spent(1, 2.0)}
    assert state.answer_seconds == {("a", "train"): Spent(1, 1.0), ("a", "share"): Spent(1, 1.0)}
    assert state.conditions == {"a": "answered", "b": "working", "c": "lost", "d": "away"}
    assert state.taking_part == ("a", "b", "c")
    assert state.failures == (FAILED,)
    assert state.adapter_sha256 == "end"
    assert (state.first_at, state.seconds) == (0.0, 10.0)


def test_a_resumed_run_keeps_what_it_was_and_forgets_how_it_ended() -> None:
    entries = at_seconds(STARTED, READY, TRAIN, replied("a"), finished(1), RunFailed(reason="full"))
    failed = fold(RunState(), entries)
    assert (failed.ended, failed.failure, failed.present_stage) == ("failed", "full", None)
    state = fold(failed, [Recorded(1000.0, STARTED.model_copy(update={"first_round": 2}))])
    assert (state.ended, state.failure, state.stage, state.turned_away) == (None, "", None, ())
    assert (state.rounds_finished, state.bytes, state.attendance) == (1, Bytes(10, 100), READY)
    assert state.seconds == failed.seconds  # it was not at work meanwhile
    assert (state.first_at, state.started_at) == (0.0, 1000.0)


def test_whether_a_run_is_private_is_its_mechanism_s_to_say() -> None:
    assert not RunState().is_private
    assert fold(RunState(), at_seconds(STARTED)).is_private
    assert not fold(RunState(), at_seconds(STARTED.model_copy(update={"mechanism": "none"}))).is_private


def test_a_tail_follows_the_log_and_takes_a_new_roster_with_the_next_stage(tmp_path) -> None:
    tail = StateTail(tmp_path / "events.jsonl", RunState(roster=("a", "b"), rounds=2))
    assert tail.read() == RunState(roster=("a", "b"), rounds=2)
    log = EventLog(tmp_path / "events.jsonl")
    for event in (STARTED, TRAIN):
        log.write(event)
    assert tail.read().waiting_for == ("a", "b")
    tail.enrol(("a", "b", "c"))
    assert tail.state.waiting_for == ("a", "b")
    log.write(RoundAborted(round=1, attempt=1, reason="r"))
    log.write(TRAIN)
    assert tail.read().waiting_for == ("a", "b", "c")
