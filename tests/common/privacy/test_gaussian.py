"""One step with Gaussian noise, against Rényi divergences integrated here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sealora_common.privacy.accounting import ORDERS, PrivacyEvent, epsilon_rdp
from sealora_common.privacy.gaussian import gaussian_step


def integrated_rdp(noise: float, rate: float, order: float, *, added: bool = False) -> float:
    """The divergence of a record removed, E_(x from P) [(M / P)^a], or added, E_(x from P) [(M / P)^(1 - a)].

    P = N(0, s^2), M = (1 - q) N(0, s^2) + q N(1, s^2); Mironov et al. 2019, sec. 3.1.
    """
    grid = np.linspace(-12 * noise, order + 12 * noise, 200_001)
    log_base = -(grid**2) / (2 * noise**2) - math.log(noise * math.sqrt(2 * math.pi))
    log_ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * grid - 1) / (2 * noise**2))
    exponent = log_base + (1 - order if added else order) * log_ratio
    peak = exponent.max()
    return float((peak + math.log(np.trapezoid(np.exp(exponent - peak), grid))) / (order - 1))


@pytest.mark.parametrize("order", [1.1, 1.5, 2.0, 3.7, 8.0, 32.0, 64.0, 256.0])
@pytest.mark.parametrize(
    ("noise", "rate"), [(0.5, 0.01), (1.0, 0.01), (1.0, 0.3), (2.0, 0.05), (0.6, 0.9), (0.1, 1e-5), (10.0, 0.5)]
)
def test_a_step_costs_the_integral_of_its_definition_and_adding_a_record_no_more(
    noise: float, rate: float, order: float
) -> None:
    found = gaussian_step(noise, rate)[ORDERS.index(order)]
    assert found == pytest.approx(integrated_rdp(noise, rate, order), rel=1e-5, abs=1e-9)
    assert integrated_rdp(noise, rate, order, added=True) <= found + 1e-9


def test_without_sampling_it_is_the_gaussian_mechanism() -> None:
    for order, cost in zip(ORDERS, gaussian_step(3.0, 1.0), strict=True):
        assert cost == pytest.approx(order / (2 * 9.0))


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1e3, 1e6, 1e50])
@pytest.mark.parametrize("rate", [1e-12, 0.5, 1 - 1e-12])
def test_extreme_values_stay_between_zero_and_the_unsampled_cost(noise: float, rate: float) -> None:
    sampled = epsilon_rdp([PrivacyEvent(noise, rate, 3)], 1e-5)
    assert 0 <= sampled <= epsilon_rdp([PrivacyEvent(noise, 1.0, 3)], 1e-5) + 1e-6


def test_no_caller_can_change_what_is_remembered() -> None:
    with pytest.raises(ValueError, match="read-only"):
        gaussian_step(1.0, 0.5)[0] = 0.0


@pytest.mark.parametrize("answer", [math.nan, math.inf, ValueError, OverflowError, ZeroDivisionError])
def test_where_the_series_fails_the_unsampled_mechanism_stands_in(
    monkeypatch: pytest.MonkeyPatch, answer: float | type[Exception]
) -> None:
    def series(**_: object) -> float:
        if isinstance(answer, float):
            return answer
        raise answer

    monkeypatch.setattr("opacus.accountants.analysis.rdp.compute_rdp", series)
    gaussian_step.cache_clear()
    assert gaussian_step(2.0, 0.25) == pytest.approx(np.asarray(ORDERS) / 8)
    gaussian_step.cache_clear()
