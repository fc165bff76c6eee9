"""`sealora track`: a run's figures for an experiment tracker."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer

from sealora_common.errors import SealoraError
from sealora_common.show.say import say

_SECONDS_BETWEEN_LOOKS = 2.0


def track(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The run's directory: of a simulation, or a server's runs/NAME.")
    ],
    trackers: Annotated[
        list[str],
        typer.Argument(metavar="KIND:DIR...", help="mlflow:DIR, tensorboard:DIR or wandb:DIR."),
    ],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run has ended.")] = False,
) -> None:
    """Write what a server knows of a run for MLflow, TensorBoard or Weights & Biases: the federation's figures alone.

    It reads the run's events and never touches the run. Asked again, it leaves each run there once.
    """
    from sealora_server.tracking.follow import Follower
    from sealora_server.tracking.kinds.choice import trackers_of
    from sealora_server.view.summary import read_state

    chosen = trackers_of(trackers)
    read_state(run)
    follower = Follower(run, chosen)
    with contextlib.suppress(KeyboardInterrupt):
        follower.read()
        while follow and follower.state.ended is None and len(follower.lost) < len(chosen):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            follower.read()
    follower.close()
    state = follower.state
    how = state.ended or "still running: --follow goes on with it"
    for name in chosen:
        if name not in follower.lost:
            say(f"{name}: {state.rounds_finished} of {state.planned_rounds} rounds; the run is {how}")
    if follower.lost:
        raise SealoraError("; ".join(f"{name}: {said}" for name, said in follower.lost.items()))
