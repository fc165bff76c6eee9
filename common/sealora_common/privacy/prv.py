"""Privacy-loss random variables (PRV) of Poisson-sampled Gaussian steps, both of removing and of adding a record.

Opacus composes the loss of removing a record. Under composition neither direction is known to be the worse one in
general (Lebeda, Regehr, Kamath & Steinke 2024, arXiv:2405.20769), so the loss of adding one is composed here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealora_common.privacy.mechanism import Mechanism

_EPSILON_ERROR = 0.01
_DELTA_ERROR = 1e-3  # relative to delta


class LossOfAdding:
    """The privacy loss log(P(x) / M(x)) for x from P = N(0, s^2), M = (1 - q) N(0, s^2) + q N(1, s^2).

    It is above t exactly where x is below s^2 log((exp(-t) - 1 + q) / q) + 1/2, and never above -log(1 - q). The
    counterpart of Opacus's `PoissonSubsampledGaussianPRV`, log(M(x) / P(x)) for x from M, with the same attributes.
    """

    def __init__(self, sample_rate: float, noise_multiplier: float) -> None:
        self.sample_rate = sample_rate
        self.noise_multiplier = noise_multiplier

    def cdf(self, t: Any) -> NDArray[np.float64]:
        """Probability that the loss is at most `t`, of any shape."""
        from scipy.special import ndtr

        odds = (np.expm1(-np.asarray(t, dtype=np.float64)) + self.sample_rate) / self.sample_rate
        within = odds > 0
        log_odds = np.log(np.where(within, odds, 1.0))
        probability = ndtr(-self.noise_multiplier * log_odds - 0.5 / self.noise_multiplier)
        return np.where(within, probability, 1.0)


def prv_epsilon(segments: Sequence[Mechanism], delta: float) -> float:
    """The larger epsilon of the two directions, at `delta`, of Gaussian `segments` that all add noise.

    Gopi, Lee & Wutschitz 2021 (arXiv:2106.02848), by Opacus; 0.01 in epsilon and delta / 1000 in delta are added for
    its numerical error.

    Returns:
        Not finite where the grid of losses fails.

    Raises:
        RuntimeError, ValueError, MemoryError: the grid of losses is too coarse or too large for these values.
    """
    from opacus.accountants.analysis.prv import PoissonSubsampledGaussianPRV

    return max(_one_direction(loss, segments, delta) for loss in (PoissonSubsampledGaussianPRV, LossOfAdding))


def _one_direction(loss: Any, segments: Sequence[Mechanism], delta: float) -> float:
    from opacus.accountants.analysis.prv import (
        Domain,
        TruncatedPrivacyRandomVariable,
        compose_heterogeneous,
        compute_safe_domain_size,
        discretize,
    )

    losses = [loss(segment.sample_rate, segment.noise_multiplier) for segment in segments]
    steps = [segment.steps for segment in segments]
    errors = {"eps_error": _EPSILON_ERROR, "delta_error": _DELTA_ERROR * delta}
    reach = compute_safe_domain_size(prvs=losses, max_self_compositions=steps, **errors)
    mesh = _EPSILON_ERROR / math.sqrt(sum(steps) * math.log(12 / errors["delta_error"]) / 2)
    domain = Domain.create_aligned(-reach, reach, mesh)
    grids = [discretize(TruncatedPrivacyRandomVariable(each, domain.t_min, domain.t_max), domain) for each in losses]
    _, _, upper = compose_heterogeneous(dprvs=grids, num_self_compositions=steps).compute_epsilon(delta, **errors)
    return float(upper)
