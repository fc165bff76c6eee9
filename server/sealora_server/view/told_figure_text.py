"""The federation's held-out figure in words: with the noise on it, and with what was clipped before it was told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sealora_common.records.run_state import RunState
from sealora_common.records.site_rounds import SiteHistory
from sealora_common.show.quantities import change_text


@dataclass(frozen=True, slots=True)
class FigureNoise:
    """The noise on a mean over sites of what each of them told.

    Attributes:
        deviation: its standard deviation, in the figure's unit.
        is_least: whether it may be more: only sites know on how many units they measured, at most as many as the
            recipe says.
    """

    deviation: float
    is_least: bool


def noise_of_mean(state: RunState, histories: Mapping[str, SiteHistory], sites: int) -> FigureNoise | None:
    """Of one evaluation; None where nothing was added, or nothing is known of it.

    Args:
        state: the run's.
        histories: the sites' own, by name; where all are here they say how many held-out units each has.
        sites: whose figures are in the mean.
    """
    started = state.started
    if started is None or not started.heldout_noise or sites < 1:
        return None
    units = [history.heldout_units for history in histories.values()]
    if len(units) == sites and all(units):
        squares = sum((1 / (count or 1)) ** 2 for count in units)
        return FigureNoise(started.heldout_noise * math.sqrt(squares) / sites, is_least=False)
    if not started.heldout_noise_least:
        return None
    return FigureNoise(started.heldout_noise_least / math.sqrt(sites), is_least=True)


def told_text(value: float, noise: FigureNoise | None, state: RunState) -> str:
    """`71.3 % (noise +-3.1 %)`, `2.664 (noise +-0.06 or more)`; the figure alone where there is no noise."""
    figure = state.heldout
    if noise is None:
        return figure.text(value)
    more = " or more" if noise.is_least else ""
    return f"{figure.text(value)} (noise +-{figure.noise_text(noise.deviation)}{more})"


def told_change_text(before: float, after: float, noise: FigureNoise | None, state: RunState) -> str:
    """What is said of a change after its figures: a loss's percentage, or that the noise alone makes so much.

    Two figures carry noise each, so that a difference of up to twice its standard deviation, 2 sqrt(2) of one figure's,
    says nothing.
    """
    if noise is not None and abs(after - before) <= 2 * math.sqrt(2) * noise.deviation:
        return " (no more than noise makes)"
    return f" ({change_text(after / before - 1)})" if state.heldout.is_loss and before > 0 else ""


def told_name(state: RunState) -> str:
    """`noisy held-out loss, clipped to 8`: so that nobody takes it for the sites' exact one."""
    if not state.is_private:
        return state.heldout.name
    clip = state.started.heldout_clip if state.started else None
    return f"noisy {state.heldout.name}" + ("" if clip is None else f", clipped to {clip:g},")
