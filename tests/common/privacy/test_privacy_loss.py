"""One step's privacy loss on the grid: never less than the true loss, and hardly more."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from sealora_common.privacy.privacy_loss import GRID, LossGrid, SampledStep, TooFineError, loss_grid

STEPS = [
    SampledStep(0.4, 0.03),
    SampledStep(1.0, 0.5),
    SampledStep(2.0, 1.0),
    SampledStep(0.7, 1 - 1e-9),
    SampledStep(50.0, 0.01),
    SampledStep(0.06, 1e-6),
    SampledStep(0.8, 0.1, 2),
    SampledStep(3.0, 1.0, 3),
    SampledStep(1.1, 0.02, 7),
]


def weights(step: SampledStep) -> list[float]:
    rate, sites = step.sample_rate, step.sites
    return [math.comb(sites, count) * rate**count * (1 - rate) ** (sites - count) for count in range(sites + 1)]


def least_delta(step: SampledStep, epsilon: float, *, added: bool) -> float:
    """The true delta at `epsilon`, nearly: the best event is a half-line, found among a hundred thousand."""
    noise = step.noise_multiplier
    ends = np.linspace(-10 * noise, step.sites + 10 * noise, 100_001) / noise
    moves = [count / noise for count in range(step.sites + 1)]
    if added:  # the event lies to the left
        return float((ndtr(ends) - math.exp(epsilon) * mixed([ndtr(ends - each) for each in moves], step)).max())
    return float((mixed([ndtr(each - ends) for each in moves], step) - math.exp(epsilon) * ndtr(-ends)).max())


def mixed(probabilities: list[np.ndarray], step: SampledStep) -> np.ndarray:
    return np.asarray(sum(weight * each for weight, each in zip(weights(step), probabilities, strict=True)))


def shown_delta(grid: LossGrid, epsilon: float) -> float:
    above = grid.losses > epsilon
    return float(grid.masses[above] @ -np.expm1(epsilon - grid.losses[above])) + grid.beyond


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_delta_is_never_less_than_that_of_any_half_line_and_at_the_dots_no_more(step: SampledStep, added: bool) -> None:
    grid = loss_grid(step, added=added)
    assert grid.masses.sum() + grid.beyond == pytest.approx(1.0, abs=1e-12)
    assert (grid.masses >= 0).all()
    for epsilon in (0.0, 0.01, 0.1, 0.5, 1.0, 2.7, 8.0, 20.0, -0.001, -0.3, -2.0):
        for shown in (round(epsilon / GRID) * GRID, epsilon + 0.3 * GRID):
            truth = max(0.0, least_delta(step, shown, added=added))
            assert shown_delta(grid, shown) >= truth - 1e-14
            if shown % GRID == 0:  # the dots themselves are exact, but for the half-lines tried and the rounding
                assert shown_delta(grid, shown) <= truth * (1 + 1e-6) + 1e-8


@pytest.mark.slow
@settings(max_examples=25)
@given(
    noise=st.floats(0.3, 1e4),
    rate=st.one_of(st.floats(1e-9, 1.0), st.just(1.0)),
    sites=st.integers(1, 3),
    added=st.booleans(),
)
def test_of_any_step_the_probabilities_are_whole_and_the_mean_loss_hardly_moves(
    noise: float, rate: float, sites: int, added: bool
) -> None:
    grid = loss_grid(SampledStep(noise, rate, sites), added=added)
    assert grid.masses.sum() + grid.beyond == pytest.approx(1.0, abs=1e-11)
    assert grid.masses.min() >= 0
    # The probabilities of the other data set are kept: exp(-loss) has mean 1.
    assert grid.masses @ np.exp(-grid.losses) == pytest.approx(1.0, abs=1e-9)


def test_a_unit_at_one_site_of_two_that_never_draw_is_one_that_one_site_draws() -> None:
    one, two = (loss_grid(SampledStep(0.9, rate, sites), added=False) for rate, sites in ((0.3, 1), (0.15, 2)))
    assert (
        shown_delta(one, 1.0)
        < shown_delta(two, 1.0)
        < 2 * shown_delta(loss_grid(SampledStep(0.45, 0.3), added=False), 1.0)
    )


@pytest.mark.parametrize("added", [False, True])
def test_what_lies_beyond_the_last_loss_counts_as_told_and_what_lies_below_the_first_as_the_first(added: bool) -> None:
    grid = loss_grid(SampledStep(1.0, 1.0), added=added)
    assert grid.beyond == pytest.approx(ndtr(-12.0), rel=0.01, abs=0)
    assert grid.masses[0] > 0.9 * ndtr(-13.0)  # three hundred times what the first cell alone holds


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("step", [SampledStep(1e20, 0.5), SampledStep(30.0, 1e-17), SampledStep(1e50, 0.5, 3)])
def test_losses_that_all_round_to_0_are_losses_of_next_to_nothing(step: SampledStep, added: bool) -> None:
    grid = loss_grid(step, added=added)
    assert grid.beyond < 1e-30
    assert shown_delta(grid, 0.0) < 1e-11


def test_losses_that_reach_too_far_are_refused() -> None:
    with pytest.raises(TooFineError):
        loss_grid(SampledStep(0.03, 0.5), added=False)


def test_no_caller_can_change_what_is_remembered() -> None:
    with pytest.raises(ValueError, match="read-only"):
        loss_grid(SampledStep(1.0, 0.5), added=True).masses[0] = 0.0
