"""Where a run is, in a sentence for the operator."""

from __future__ import annotations

from sealora_common.records.run_state import RunState


def progress_text(state: RunState) -> str:
    """A sentence on where the run is."""
    if state.is_complete:
        stopped = state.stopped_early is not None
        rounds = f"stopped early after {state.rounds} rounds" if stopped else f"all {state.rounds} rounds are finished"
        return rounds if state.final_round == state.rounds else f"{rounds}; kept is round {state.final_round}'s adapter"
    stage = state.present_stage
    if stage is None:
        finished = state.rounds_finished
        return f"between rounds, {finished} finished" if finished else "waits for its sites"
    name = f"round {stage.round} of {state.rounds}" if stage.round <= state.rounds else "the final evaluation"
    return f"{name}, stage {stage.name}: {len(stage.answered)} of {stage.sites} sites have answered"
