"""Where a run is, in a sentence for the operator."""

from __future__ import annotations

from sealora_common.records.run_state import RunState
from sealora_common.show.quantities import names_text


def progress_text(state: RunState) -> str:
    """A sentence on where the run is."""
    if state.is_complete:
        said = f"all {state.rounds} rounds are finished"
        if state.stopped_early is not None:
            said = f"stopped early after {state.rounds} of {state.planned_rounds} rounds"
        if state.final_round != state.rounds:
            said = f"{said}; kept is round {state.final_round}'s adapter"
        lacking = sorted(set(state.roster) - set(state.delivered))
        # None has it where an older version ended the run.
        return f"{said}; its adapter waits for {names_text(lacking)}" if lacking and state.delivered else said
    stage = state.present_stage
    if stage is None:
        finished = state.rounds_finished
        return f"between rounds, {finished} finished" if finished else "waits for its sites"
    name = f"round {stage.round} of {state.rounds}" if stage.round <= state.rounds else "the final evaluation"
    return f"{name}, stage {stage.name}: {len(stage.answered)} of {stage.sites} sites have answered"
