"""Rényi differential privacy: the orders that every mechanism is measured at, and the epsilon they give together."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

ORDERS: tuple[float, ...] = (
    1.01,
    1.025,
    1.05,
    *(1 + tenths / 10 for tenths in range(1, 100)),
    *(float(order) for order in range(11, 65)),
    *(float(order) for order in (72, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024)),
)
"""Rényi orders over which epsilon is minimised: low ones serve large epsilons, high ones small epsilons."""


def epsilon_of_rdp(rdp: NDArray[np.float64], delta: float) -> float:
    """The smallest epsilon that the divergences `rdp`, one for each of `ORDERS`, prove at `delta`.

    Source: Balle et al. 2020 (arXiv:1905.09982), Thm 21, as Opacus has it.
    """
    from opacus.accountants.analysis.rdp import get_privacy_spent

    with quietly():
        epsilon, _ = get_privacy_spent(orders=np.asarray(ORDERS), rdp=rdp, delta=delta)
    return max(0.0, float(epsilon))


@contextmanager
def quietly() -> Iterator[None]:
    """Silences NumPy's overflow messages and Opacus's advice about orders: results are checked instead."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
