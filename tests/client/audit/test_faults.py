"""Each fault does to the engine what its name says, and nothing is left of it afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sealora_client.audit.faults import FAULTS, applied
from sealora_client.model.adapters.rules.linear_weight import LinearWeight
from sealora_client.training import clipped_sum, distributed, dp_sgd
from sealora_client.training.gradients.per_example import LARGEST_GRID, PerExampleGradients
from sealora_client.training.noise.rounded_gaussian import rounded_gaussian
from sealora_client.training.noise.skellam import skellam
from sealora_client.training.sampling import poisson_batch
from sealora_common.entropy import SeededEntropy

ENTROPY = SeededEntropy("faults")
REPLACED = [
    (dp_sgd, "rounded_gaussian"),
    (distributed, "skellam"),
    (clipped_sum, "poisson_batch"),
    (PerExampleGradients, "truncated_sum_"),
]


def engine():
    return [getattr(owner, name) for owner, name in REPLACED]


def test_without_a_fault_the_engine_is_its_own():
    truncated_sum = PerExampleGradients.__dict__["truncated_sum_"]
    assert engine() == [rounded_gaussian, skellam, poisson_batch, truncated_sum]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_changes_the_engine_only_while_it_is_applied(fault):
    sound = engine()
    with applied(fault):
        assert engine() != sound
    assert engine() == sound


def test_a_fault_is_undone_when_training_fails():
    sound = engine()
    with pytest.raises(ZeroDivisionError), applied("noise off"):
        _ = 1 / 0
    assert engine() == sound


def test_noise_off_is_no_noise():
    with applied("noise off"):
        for draws in (
            dp_sgd.rounded_gaussian(ENTROPY, 50, 1e6),
            distributed.skellam(ENTROPY, 50, 1e12),
        ):
            assert draws.dtype == np.int64
            assert not draws.any()


def test_noise_at_a_quarter_has_a_quarter_of_the_spread():
    with applied("noise at a quarter"):
        gaussian = dp_sgd.rounded_gaussian(ENTROPY, 20_000, 1000.0)
        share = distributed.skellam(ENTROPY, 20_000, 1e6)
    for draws in (gaussian, share):
        assert draws.std() == pytest.approx(250, rel=0.05)


def test_clipping_off_sums_gradients_at_full_length():
    linear = torch.nn.Linear(3, 2, bias=False)
    rows = torch.tensor([[0.1, 0.0, 0.0, 0.0, 0.0, 0.2], [30.0, 0.0, -40.0, 0.0, 0.0, 0.0]])

    def summed():
        gradients = PerExampleGradients([("lora_B.weight", LinearWeight(linear))], 2)
        gradients.start(2)
        gradients._matrices[0].rows[:] = rows.view(2, 2, 3)
        gradients._arrivals = 1
        total = torch.zeros(6, dtype=torch.float64)
        outcome = gradients.truncated_sum_(total, 2.0, LARGEST_GRID)
        return total * 2.0 / LARGEST_GRID, outcome

    clipped, _ = summed()
    torch.testing.assert_close(clipped, rows[0].double() + rows[1].double() / 25, atol=1e-3, rtol=0)
    with applied("clipping off"):
        whole, outcome = summed()
    torch.testing.assert_close(whole, rows.double().sum(dim=0), atol=1e-3, rtol=1e-5)
    assert outcome.norms.tolist() == pytest.approx([np.sqrt(0.05), 50.0])


def test_sampling_that_is_not_poisson_takes_the_same_units_every_time():
    with applied("sampling not Poisson"):
        first, second = (clipped_sum.poisson_batch(ENTROPY, 200, 0.1) for _ in range(2))
    np.testing.assert_array_equal(first, np.arange(20))
    np.testing.assert_array_equal(second, first)
