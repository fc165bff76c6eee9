"""Epsilons that others have published, for the same steps, sampling and delta."""

from __future__ import annotations

import pytest

from sealora_common.privacy.accounting import PrivacyEvent, calibrate_noise, epsilon_pld, epsilon_rdp
from sealora_common.privacy.gaussian import gaussian_step
from sealora_common.privacy.renyi import ORDERS

OPACUS = "Opacus, opacus/tests/accountants_test.py"
TENSORFLOW = "TensorFlow Privacy, analysis/compute_dp_sgd_privacy_test.py"
GOOGLE_PLD = "Google dp-accounting, pld/pld_privacy_accountant_test.py and pld/accountant_test.py"
FOURIER = "Koskela, Jälkö & Honkela 2020 (arXiv:1906.03049), their tests/test_compute_delta.py, get_delta_R"

RDP = [
    # source, segments (noise multiplier, sample rate, steps), delta, epsilon
    (OPACUS, [(1.5, 0.04, 2250)], 1e-5, 7.32911117143),
    (f"{TENSORFLOW}, Test0", [(1.3, 150 / 60_000, 6000)], 1e-5, 0.7242234026109595),
    (f"{TENSORFLOW}, Test1", [(1.0, 1e-3, 30_000)], 1e-7, 1.4154988495444842),
    (f"{TENSORFLOW}, no_microbatching_with_subsampling", [(0.7, 0.01, 120)], 1e-5, 3.2392676),
    (f"{TENSORFLOW}, no_microbatching_no_subsampling", [(0.7, 1.0, 2)], 1e-5, 10.8602036),
    ("Google dp-accounting, test_compute_epsilon_delta_gaussian", [(4.530877117, 1.0, 1)], 1e-6, 1.0),
]
LOSS_DISTRIBUTIONS = [
    (f"{TENSORFLOW}, no_microbatching_with_subsampling_pld", [(0.7, 0.01, 120)], 1e-5, 2.4612381),
    (f"{TENSORFLOW}, no_microbatching_no_subsampling_pld", [(0.7, 1.0, 2)], 1e-5, 10.1224946),
    (f"{GOOGLE_PLD}, test_poisson_subsampled_gaussian", [(0.5, 0.2, 1), (0.5, 0.2, 2)], 0.15594, 1.0),
    (f"{GOOGLE_PLD}, smallest noise, base", [(0.67379294682, 0.01, 1)], 1e-5, 1.0),
    (f"{GOOGLE_PLD}, smallest noise, varying", [(3.20956502598 / 6, 0.001, 25)], 1e-5, 1.0),
    (FOURIER, [(2.0, 0.01, 10_000)], 0.010224911209191894, 1.0),
    (FOURIER, [(2.0, 0.01, 10_000)], 0.022850339595771204, 0.8),
    (FOURIER, [(2.0, 0.02, 10_000)], 0.14991732969314892, 1.0),
]
GOOGLE = [
    # Computed with Google dp-accounting 0.6.0: `from_gaussian_mechanism`, connecting dots, losses in steps of 1e-4.
    ([(0.465, 0.03, 10)], 1e-4, 6.175919407),
    ([(0.9325, 0.03, 50)], 1e-4, 1.514046564),
    ([(0.8, 0.02, 100), (2.0, 0.1, 50)], 1e-5, 2.981522050),
    ([(1.0, 0.5, 4)], 1e-4, 5.638957338),
    ([(0.5, 0.2, 1), (0.5, 0.2, 2)], 0.15594, 0.999925085),
    ([(0.67379294682, 0.01, 1)], 1e-5, 0.999999663),
    ([(3.20956502598 / 6, 0.001, 25)], 1e-5, 0.999993752),
]
LOOSER = [
    # By coarser orders or an older conversion: never to be exceeded.
    ("Abadi et al. 2016 (arXiv:1607.00133), sec. 3.2", [(4.0, 0.01, 10_000)], 1e-5, 1.26),
    ("Opacus, analysis/rdp.py, example", [(1.0, 1e-5, 10), (3.0, 1e-4, 4)], 1e-5, 0.3365),
    ("TensorFlow Privacy, test_check_composition", [(0.4, 1e-4, 40_000), (2.0, 0.1, 100)], 1e-5, 8.509656),
    ("Bu, Dong, Long & Su 2020 (arXiv:1911.11607), Fig. 4", [(0.7, 256 / 60_000, 16_406)], 1e-5, 8.68),
]


def events(segments: list[tuple[float, float, int]]) -> list[PrivacyEvent]:
    return [PrivacyEvent(*segment) for segment in segments]


@pytest.mark.parametrize(("source", "segments", "delta", "published"), RDP)
def test_rdp_is_what_others_compute(
    source: str, segments: list[tuple[float, float, int]], delta: float, published: float
) -> None:
    assert epsilon_rdp(events(segments), delta) == pytest.approx(published, rel=5e-5), source


@pytest.mark.parametrize(("source", "segments", "delta", "published"), LOSS_DISTRIBUTIONS)
def test_composed_losses_are_what_others_compute_and_rdp_is_no_less(
    source: str, segments: list[tuple[float, float, int]], delta: float, published: float
) -> None:
    epsilon = epsilon_pld(events(segments), delta)
    assert published - 1e-4 <= epsilon <= published + 5e-3, source  # four digits, or in units of theirs
    assert published <= epsilon_rdp(events(segments), delta), source


@pytest.mark.parametrize(("segments", "delta", "computed"), GOOGLE)
def test_google_computes_the_same_to_six_digits(
    segments: list[tuple[float, float, int]], delta: float, computed: float
) -> None:
    assert computed - 1e-7 <= epsilon_pld(events(segments), delta) <= computed + 5e-6


@pytest.mark.parametrize(("source", "segments", "delta", "published"), LOOSER)
def test_looser_analyses_are_not_exceeded(
    source: str, segments: list[tuple[float, float, int]], delta: float, published: float
) -> None:
    assert 0.8 * published < epsilon_rdp(events(segments), delta) <= published, source


def test_divergences_are_what_google_computes() -> None:
    # dp-accounting, rdp/rdp_privacy_accountant_test.py, test_compute_rdp_poisson_sampled_gaussian. At orders between
    # whole ones it adds up the absolute values of an alternating series; the sum itself is smaller.
    for order, published in {5.0: 2.18075656e-03, 50.0: 2.38460375e-02}.items():
        assert 50 * gaussian_step(2.5, 0.01)[ORDERS.index(order)] == pytest.approx(published, rel=1e-6)
    for order, published in {1.5: 6.70579741e-04, 2.5: 1.08548710e-03}.items():
        assert 0.96 * published < 50 * gaussian_step(2.5, 0.01)[ORDERS.index(order)] < published


def test_noise_is_calibrated_as_opacus_does() -> None:
    # accountants_test.py, test_get_noise_multiplier_rdp_epochs and _steps, to within 0.01 of epsilon.
    assert calibrate_noise(8.0, 1e-5, 0.04, 2250, "rdp") == pytest.approx(1.416, abs=5e-4)
    assert calibrate_noise(8.0, 1e-5, 0.04, 2000, "rdp") == pytest.approx(1.3562, abs=5e-4)
