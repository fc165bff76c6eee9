"""What an event may be."""

from __future__ import annotations

import math

import pytest

from sealora_common.errors import BudgetError
from sealora_common.privacy.accounting import PrivacyEvent


def test_a_mechanism_is_gaussian_unless_it_says_otherwise() -> None:
    assert PrivacyEvent(1.0, 0.1, 5) == PrivacyEvent(1.0, 0.1, 5, "gaussian", 0)
    assert PrivacyEvent(1.0, 0.1, 5) != PrivacyEvent(1.0, 0.1, 5, "skellam", 1)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ((-1.0, 0.5, 1), "noise_multiplier"),
        ((math.nan, 0.5, 1), "noise_multiplier"),
        ((math.inf, 0.5, 1), "noise_multiplier"),
        ((1e160, 0.5, 1), "noise_multiplier"),
        ((10**400, 0.5, 1), "noise_multiplier"),
        ((1.0, 1.5, 1), "sample_rate"),
        ((1.0, -0.1, 1), "sample_rate"),
        ((1.0, math.nan, 1), "sample_rate"),
        ((1.0, 0.5, -1), "steps"),
        ((1.0, 0.5, math.nan), "steps"),
        ((1.0, 0.5, 10**400), "steps"),
        ((1.0, 0.5, 1, "laplace"), "noise"),
        ((1.0, 0.5, 1, "gaussian", 1), "grid_steps"),
        ((1.0, 0.5, 1, "skellam"), "grid_steps"),
        ((1.0, 0.5, 1, "skellam", -3), "grid_steps"),
        ((1.0, 0.5, 1, "skellam", math.nan), "grid_steps"),
        ((1.0, 0.5, 1, "skellam", math.inf), "grid_steps"),
        ((1.0, 0.5, 1, "skellam", 10**200), "grid_steps"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(values: tuple[float, ...], field: str) -> None:
    with pytest.raises(BudgetError, match=rf"^{field} is "):
        PrivacyEvent(*values)  # type: ignore[arg-type]


def test_no_steps_and_no_sampling_are_free() -> None:
    assert PrivacyEvent(0.0, 0.5, 0).is_free
    assert PrivacyEvent(0.0, 0.0, 5).is_free
    assert not PrivacyEvent(1000.0, 1e-9, 1).is_free
