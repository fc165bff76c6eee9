"""What is shown of a run after its submission: its place in line, its sites, and, if that is waited for, its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sealora_common.show.say import say
from sealora_server.deployment.directory import ServerDirectory

if TYPE_CHECKING:
    from sealora_server.deployment.operator.messages import Status


def show_submitted(
    config: Path, run: str, stage_timeout: float, status: Callable[[], Status], wait: bool | None
) -> None:
    """Shows what becomes of a run.

    Args:
        config: the server's server.yaml.
        run: its name.
        stage_timeout: the recipe's, in seconds.
        status: asks the server how everything is.
        wait: True: until its end; None: until it is known which sites take part, which a run that waits for approval or
            in line is not asked; False: not at all.

    Raises:
        DeploymentError: the run does not go on; or no server runs any more.
    """
    from sealora_server.deployment.operator.admission import WAITING, status_of_run, wait_for_end, wait_for_turn

    if wait is False:
        return
    try:
        told = status_of_run(status(), run)
        if told.condition in WAITING:
            say(f"run {run}: {told.said}; to take it back:  sealora server stop {run} --config {config}")
            if wait is None:
                return
            wait_for_turn(run, status)
            say(f"run {run}: its turn has come")
        _show_sites(config, run, stage_timeout, status)
        if wait:
            say(f"run {run}: waiting for its end. Ctrl-C ends the waiting, not the run.")
            say(f"run {run}: {wait_for_end(run, status)}")
    except KeyboardInterrupt:
        say(f"run {run}: goes on")
        raise SystemExit(130) from None


def _show_sites(config: Path, run: str, stage_timeout: float, status: Callable[[], Status]) -> None:
    """Waits until the run's sites are known and shows them."""
    from sealora_server.deployment.operator.admission import START_SECONDS, wait_for_sites
    from sealora_server.view.story import attendance_lines

    seconds = stage_timeout + START_SECONDS
    say(f"Waiting for its sites, {seconds:.0f} s at most. Ctrl-C ends the waiting, not the run.")
    told = wait_for_sites(ServerDirectory(config).runs / run, status, seconds)
    if told is None:
        say(f"run {run}: not all of its sites have answered yet; it goes on, see `sealora server status`")
    for line in attendance_lines(told) if told else ():
        say(f"run {run}: {line}")
