"""Rényi divergence of one DP-SGD step with Gaussian noise, by Opacus's series."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sealora_common.privacy.renyi import ORDERS, quietly

_SERIES_NOISE = (0.01, 1000.0)  # outside it the series lose their digits, or take seconds to converge
_SERIES_ROUNDING = 1e-12  # what summing in double precision may hide, in one step's divergence


@lru_cache(maxsize=4096)
def gaussian_step(noise_multiplier: float, sample_rate: float) -> NDArray[np.float64]:
    """Rényi divergence of one Poisson-sampled Gaussian step at each of `ORDERS`, shape (len(ORDERS),), read-only.

    The larger of the two directions, removing a record: Mironov, Talwar & Zhang 2019 (arXiv:1908.10530), Thm 5 and
    sec. 3.3.

    Args:
        noise_multiplier: above 0.
        sample_rate: above 0, at most 1.
    """
    from opacus.accountants.analysis.rdp import compute_rdp

    # Sampling never costs more than taking every record does (Mironov et al. 2019, sec. 3), so the plain Gaussian
    # mechanism bounds each order. It stands in where Opacus's series cannot be summed in double precision.
    costs = np.asarray(ORDERS) / (2 * noise_multiplier) / noise_multiplier
    if _SERIES_NOISE[0] <= noise_multiplier <= _SERIES_NOISE[1]:
        for index, order in enumerate(ORDERS):
            with quietly():
                try:
                    cost = float(compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=order))
                except (ValueError, OverflowError, ZeroDivisionError):
                    continue
            if not math.isnan(cost):
                costs[index] = min(costs[index], max(0.0, cost) + _SERIES_ROUNDING)
    costs.flags.writeable = False  # the cache hands the same array to every caller
    return costs
