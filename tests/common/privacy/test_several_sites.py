"""The promise to a unit of privacy that several sites hold."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.special import ndtr

from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import PrivacyEvent, epsilon_pld
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.several_sites import at_several_sites, epsilon_in_one_sum, epsilon_of_chain
from sealora_common.recipe import Recipe, parse_recipe

from exact_losses import gaussian, least_epsilon, skellam

NOTHING = PrivacyEvent(1.0, 1.0, 0)
DISTRIBUTED = ("privacy.mechanism=distributed", "sealing.ring_bits=24", "training.steps_per_round=1")
GOOGLE = [
    # Google dp-accounting 0.6.0, `from_mixture_gaussian_mechanism`: noise, rate, sites, steps; delta; epsilon.
    ((0.465, 0.03, 2, 10), 1e-4, 12.357512668),
    ((0.8, 0.1, 2, 10), 1e-5, 9.831616728),
    ((1.2, 0.3, 3, 5), 1e-4, 12.034488510),
    ((2.0, 0.02, 4, 50), 1e-6, 1.559162994),
    ((1.5, 1.0, 2, 3), 1e-5, 11.952506748),
]


def recipe(*overrides: str) -> Recipe:
    return parse_recipe("name: test\nrounds: 6\nmodel: {base: b}\ntraining: {sample_rate: 0.1}\n", overrides=overrides)


@pytest.mark.parametrize(("values", "delta", "computed"), GOOGLE)
def test_one_sum_that_holds_a_unit_several_times_is_what_google_computes(
    values: tuple[float, float, int, int], delta: float, computed: float
) -> None:
    noise, rate, sites, steps = values
    found = epsilon_in_one_sum(PrivacyEvent(noise, rate, steps), sites, NOTHING, delta)
    assert found == pytest.approx(computed, abs=5e-5)  # their losses were rounded to 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "rate", "sites", "steps", "delta"),
    [(0.465, 0.03, 2, 10, 1e-4), (0.8, 0.1, 2, 10, 1e-5), (1.2, 0.3, 3, 5, 1e-4), (2.0, 1.0, 2, 4, 1e-5)],
)
def test_it_is_no_less_than_the_losses_of_removing_and_adding(
    noise: float, rate: float, sites: int, steps: int, delta: float
) -> None:
    exact = gaussian(noise, rate, steps, sites)
    removed, added = (least_epsilon([exact], delta, added=added) for added in (False, True))
    found = epsilon_in_one_sum(PrivacyEvent(noise, rate, steps), sites, NOTHING, delta)
    assert max(removed, added) <= found <= max(removed, added) + 0.01


@pytest.mark.parametrize(
    ("noise", "units", "shift", "rate", "sites", "steps", "excess"),
    [
        (0.6, 30, (30,), 0.05, 2, 5, 0.3),
        (1.0, 20, (20,), 0.03, 2, 30, 0.2),
        (1.2, 5, (3, -4), 0.1, 2, 4, 3.0),
        (1.5, 6, (2, 4, 4), 0.3, 2, 2, 3.0),
        (1.5, 4, (0, 4), 0.5, 3, 4, 3.0),
    ],
)
def test_skellam_noise_costs_sites_that_contribute_alike_no_more_than_gaussian(
    noise: float, units: int, shift: tuple[int, ...], rate: float, sites: int, steps: int, excess: float
) -> None:
    exact = skellam(noise, units, shift, rate, 1, sites)
    exact = dataclasses.replace(exact, steps=steps)
    removed, added = (least_epsilon([exact], 1e-4, added=added) for added in (False, True))
    found = epsilon_in_one_sum(PrivacyEvent(noise, rate, steps, "skellam", units), sites, NOTHING, 1e-4)
    assert max(removed, added) <= found <= max(removed, added) + excess


def test_parallel_contributions_are_the_costliest() -> None:
    """Kahane's inequality, on a grid in two dimensions: contributions of two sites at an angle, or shorter."""
    noise, rate = 0.9, 0.3
    axis = np.linspace(-8, 10, 721)
    first, second = np.meshgrid(axis, axis, indexing="ij")

    def density(x: float, y: float) -> np.ndarray:
        return np.exp(-((first - x) ** 2 + (second - y) ** 2) / (2 * noise**2)) * ((axis[1] - axis[0]) / noise) ** 2

    def deltas(one: tuple[float, float], two: tuple[float, float], epsilon: float) -> tuple[float, float]:
        absent = density(0, 0) / (2 * math.pi)
        present = (
            (1 - rate) ** 2 * density(0, 0)
            + rate * (1 - rate) * (density(*one) + density(*two))
            + rate**2 * density(one[0] + two[0], one[1] + two[1])
        ) / (2 * math.pi)
        factor = math.exp(epsilon)
        return np.maximum(present - factor * absent, 0).sum(), np.maximum(absent - factor * present, 0).sum()

    for epsilon in (0.0, 0.2, 0.4, 1.0, 3.0):
        worst = deltas((1, 0), (1, 0), epsilon)
        for two in ((0, 1), (-1, 0), (0.6, 0.8), (0.5, 0), (0, 0)):
            assert all(found <= most + 1e-9 for found, most in zip(deltas((1, 0), two, epsilon), worst, strict=True))


@pytest.mark.slow
def test_the_chain_of_two_sites_holds_for_what_is_worst_for_two() -> None:
    for noise, rate, steps in ((0.6, 0.05, 10), (2.0, 1.0, 4)):
        event = PrivacyEvent(noise, rate, steps)
        chain = epsilon_of_chain((event,), 2, 1e-5)
        assert epsilon_in_one_sum(event, 2, NOTHING, 1e-5) < chain < 3 * epsilon_pld([event], 1e-5)
        assert epsilon_of_chain((event,), 1, 1e-5) == epsilon_pld([event], 1e-5)


def test_a_chain_of_gaussian_links_holds_for_their_sum() -> None:
    # k steps of N(0, s^2) moved one by one: the ends differ by k, and delta at epsilon is known in closed form.
    for sites in (2, 3, 5):
        epsilon, mean = epsilon_of_chain((PrivacyEvent(3.0, 1.0, 1),), sites, 1e-5), sites / 3.0
        delta = ndtr(mean / 2 - epsilon / mean) - math.exp(epsilon) * ndtr(-mean / 2 - epsilon / mean)
        assert 0 <= delta <= 1e-5


@pytest.mark.slow
def test_local_noise_is_every_site_s_own_so_its_runs_compose() -> None:
    own = recipe()
    whole = {charge.part: charge.whole_run for charge in privacy_plan(own, 3).charges}
    for sites in (1, 2, 3):
        held_out, trained = (
            epsilon_pld([dataclasses.replace(part, steps=part.steps * sites)], own.privacy.delta)
            for part in (whole["heldout"], whole["train"])
        )
        found = at_several_sites(own, 3, sites)
        assert found is not None
        assert max(held_out, trained) <= found.epsilon <= max(held_out, trained) * 1.2
    assert at_several_sites(own, 3, 1).epsilon <= own.privacy.epsilon


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(), DISTRIBUTED, (*DISTRIBUTED, "data.person_field=patient")])
def test_more_sites_are_promised_less_and_one_site_what_the_recipe_says(overrides: tuple[str, ...]) -> None:
    own = recipe(*overrides)
    found = [at_several_sites(own, 4, sites).epsilon for sites in (1, 2, 3)]
    assert found[0] == pytest.approx(own.privacy.epsilon, rel=2e-3)
    assert found[0] <= own.privacy.epsilon
    assert 1.3 * found[0] < found[1] < found[2]


def test_contributions_to_one_sum_that_differ_are_promised_less() -> None:
    alike = at_several_sites(recipe(*DISTRIBUTED), 3, 2)
    for differing in ("data.person_field=patient", "lora.dropout=0.1"):
        assert at_several_sites(recipe(*DISTRIBUTED, differing), 3, 2).epsilon > 1.2 * alike.epsilon
        assert at_several_sites(recipe(differing), 3, 2) == at_several_sites(recipe(), 3, 2)


def test_without_privacy_nothing_is_promised_and_the_roster_bounds_the_sites() -> None:
    assert at_several_sites(recipe("privacy.mechanism=none"), 3, 2) is None
    for sites in (0, 4):
        with pytest.raises(BudgetError, match=f"{sites} sites"):
            at_several_sites(recipe(), 3, sites)
