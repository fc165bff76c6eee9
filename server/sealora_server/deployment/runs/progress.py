"""Where a run is, in a sentence for the operator."""

from __future__ import annotations

from sealora_common.records.run_state import RunState


def progress_text(state: RunState) -> str:
    """A sentence on where the run is."""
    if state.is_complete:
        said = f"all {state.rounds} rounds are finished"
        if state.stopped_early is not None:
            said = f"stopped early after {state.rounds} of {state.planned_rounds} rounds"
        return said if state.final_round == state.rounds else f"{said}; kept is round {state.final_round}'s adapter"
    stage = state.present_stage
    if stage is None:
        finished = state.rounds_finished
        return f"between rounds, {finished} finished" if finished else "waits for its sites"
    name = f"round {stage.round} of {state.rounds}" if stage.round <= state.rounds else "the final evaluation"
    return f"{name}, stage {stage.name}: {len(stage.answered)} of {stage.sites} sites have answered"
