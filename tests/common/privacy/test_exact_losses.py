"""Privacy losses composed independently (`exact_losses`), in both directions: no accountant may come out below."""

from __future__ import annotations

import pytest

from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld, epsilon_rdp

from exact_losses import gaussian, least_epsilon, skellam

GAUSSIANS = [
    ([(0.465, 0.03, 10)], 1e-4),
    ([(0.8233, 0.03, 10)], 1e-4),
    ([(0.9325, 0.03, 50)], 1e-4),
    ([(0.8, 0.085, 12)], 3.2e-4),
    ([(1.0, 0.5, 4)], 1e-5),
    ([(2.0, 0.95, 5)], 1e-6),
    ([(3.0, 1.0, 3)], 1e-4),
    ([(0.6, 1e-4, 20)], 1e-6),
    ([(5.0, 0.1, 30)], 1e-3),
    ([(0.8, 0.02, 10), (2.0, 0.1, 20), (1.2, 0.3, 3)], 1e-5),
]
SKELLAMS = [
    # noise multiplier, units, shift, sample rate, steps; delta; what may be shown above the exact epsilon. On a coarse
    # grid large losses are rarer than with the Gaussian noise that stands for the Skellam noise.
    ((0.5, 8, (8,), 0.03, 10), 1e-4, 1.8),
    ((0.8, 5, (3, -4), 0.1, 10), 1e-4, 1.5),
    ((1.5, 4, (0, 4), 0.5, 4), 1e-5, 0.7),
    ((2.0, 2, (1, 1), 1.0, 3), 1e-4, 1.5),
    ((1.0, 20, (20,), 0.03, 30), 1e-4, 0.05),
    ((0.6, 30, (18, 24), 0.05, 5), 1e-3, 0.06),
    ((0.5, 300, (300,), 0.03, 10), 1e-4, 0.02),
]


@pytest.mark.parametrize(("values", "delta"), GAUSSIANS)
def test_gaussian_epsilons_are_no_less_than_the_losses_of_removing_and_adding_and_hardly_more(
    values: list[tuple[float, float, int]], delta: float
) -> None:
    segments = [gaussian(*each) for each in values]
    removed, added = (least_epsilon(segments, delta, added=added) for added in (False, True))
    events = [PrivacyEvent(*each) for each in values]
    assert max(removed, added) <= epsilon_pld(events, delta) <= max(removed, added) + 0.01
    assert max(removed, added) <= epsilon_rdp(events, delta)


@pytest.mark.parametrize(("values", "delta", "excess"), SKELLAMS)
def test_skellam_epsilons_are_no_less_than_the_losses_of_removing_and_adding(
    values: tuple[float, int, tuple[int, ...], float, int], delta: float, excess: float
) -> None:
    noise, units, _, rate, steps = values
    removed, added = (least_epsilon([skellam(*values)], delta, added=added) for added in (False, True))
    events = [PrivacyEvent(noise, rate, steps, "skellam", units)]
    assert max(removed, added) <= epsilon_pld(events, delta) <= removed + excess
    assert max(removed, added) <= epsilon_rdp(events, delta)


def test_gaussian_and_skellam_segments_together_are_no_less_than_their_losses() -> None:
    exact = [skellam(1.0, 12, (12,), 0.05, 10), gaussian(0.9, 0.02, 20), skellam(1.4, 5, (3, 4), 0.3, 2)]
    events = [
        PrivacyEvent(1.0, 0.05, 10, "skellam", 12),
        PrivacyEvent(0.9, 0.02, 20),
        PrivacyEvent(1.4, 0.3, 2, "skellam", 5),
    ]
    removed, added = (least_epsilon(exact, 1e-5, added=added) for added in (False, True))
    assert max(removed, added) <= epsilon_pld(events, 1e-5) <= 1.05 * removed + 0.02
    assert max(removed, added) <= epsilon_rdp(events, 1e-5)


def test_what_the_gdp_accountant_shows_is_below_the_true_epsilon() -> None:
    # The reason that it is not offered.
    from opacus.accountants import GaussianAccountant

    with pytest.warns(UserWarning, match="can underestimate"):
        limit_theorem = GaussianAccountant()
    limit_theorem.history = [(0.9325, 0.03, 50)]
    shown = limit_theorem.get_epsilon(1e-4)
    assert shown < least_epsilon([gaussian(0.9325, 0.03, 50)], 1e-4, added=False) - 0.1
