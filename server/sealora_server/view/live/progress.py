"""How far a run is and how long it will still take, estimated from its state."""

from __future__ import annotations

from sealora_common.records.events import StageName
from sealora_common.records.run_state import RunState, StageState

# Share of a round that is over when the stage begins: training is nearly all of it.
_STAGE_BEGINS: dict[StageName, float] = {
    "train": 0.0,
    "share": 0.85,
    "check": 0.87,
    "disclose": 0.89,
    "mask": 0.90,
    "confirm": 0.93,
    "open": 0.96,
    "evaluate": 0.0,
}
_STAGE_ENDS: dict[StageName, float] = {
    "train": 0.85,
    "share": 0.87,
    "check": 0.89,
    "disclose": 0.90,
    "mask": 0.93,
    "confirm": 0.96,
    "open": 1.0,
    "evaluate": 0.85,
}


def shown_stage(state: RunState) -> StageState | None:
    """The stage that a display shows: the last one until another begins, and none once all is evaluated."""
    return None if state.is_evaluated else state.stage


def shown_round(state: RunState) -> int:
    """The round that a display shows; one past the recipe's rounds for the final evaluation, 0 before the start."""
    if state.stage is not None:
        return state.stage.round
    return state.started.first_round if state.started else 0


def rounds_done(state: RunState) -> float:
    """Rounds done, with the part of the present one that is over."""
    stage = shown_stage(state)
    if stage is None or stage.round > state.rounds or state.rounds_finished >= stage.round:
        return float(state.rounds_finished)
    begins, ends = _STAGE_BEGINS[stage.name], _STAGE_ENDS[stage.name]
    answered = sum(condition == "answered" for condition in state.conditions.values())
    awaited = sum(condition in {"answered", "working"} for condition in state.conditions.values())
    return stage.round - 1 + begins + (ends - begins) * (answered / awaited if awaited else 0.0)


def seconds_left(state: RunState, now: float) -> float | None:
    """An estimate from the last rounds' length; None before one round is done.

    Args:
        state: the run's.
        now: Unix seconds.
    """
    if state.ended or not state.round_seconds:
        return None
    recent = state.round_seconds[-3:]
    length = sum(recent) / len(recent)
    rounds_left = state.rounds - state.rounds_finished
    stage = shown_stage(state)
    into_round = now - stage.began_at if stage is not None else 0.0
    is_training = stage is not None and stage.name == "train"
    in_this_round = min(into_round, length) if is_training else length * (rounds_done(state) % 1)
    return max(0.0, length * rounds_left - in_this_round) if rounds_left else None
