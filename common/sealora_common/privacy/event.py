"""What is accounted for: noisy sums over Poisson samples, the noise Gaussian or Skellam."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from sealora_common.errors import BudgetError

Noise = Literal["gaussian", "skellam"]

_LARGEST = 1e50  # of any value: far beyond all sense, and what is worked out from it stays below 1e308


@dataclass(frozen=True)
class PrivacyEvent:
    """`steps` releases of a clipped sum over a Poisson sample, each with fresh noise.

    Attributes:
        noise_multiplier: sigma, the noise's standard deviation divided by the L2 sensitivity (the clipping norm);
            0 is no privacy.
        sample_rate: q, each record's independent probability of joining a step, 0 to 1.
        steps: number of releases.
        noise: `gaussian`, added to real sums, or `skellam`, added to integer sums: each coordinate's noise is the
            difference of two independent Poisson draws, of variance (noise_multiplier * grid_steps)^2 together.
        grid_steps: Skellam only: the L2 sensitivity in steps of the integer grid, 1 or more; 0 with Gaussian noise.

    Raises:
        BudgetError: a value is out of range.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int
    noise: Noise = "gaussian"
    grid_steps: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.noise_multiplier <= _LARGEST:
            raise BudgetError(f"noise_multiplier is {self.noise_multiplier}: it must be a number from 0 to 1e50")
        if not 0 <= self.sample_rate <= 1:
            raise BudgetError(f"sample_rate is {self.sample_rate}: it must be a probability from 0 to 1")
        if not 0 <= self.steps <= _LARGEST:
            raise BudgetError(f"steps is {self.steps}: it must be a number from 0 to 1e50")
        if self.noise not in get_args(Noise):
            raise BudgetError(f"noise is {self.noise!r}: it must be one of {', '.join(get_args(Noise))}")
        if self.noise == "gaussian" and self.grid_steps != 0:
            raise BudgetError(f"grid_steps is {self.grid_steps}: Gaussian noise has no integer grid, leave it at 0")
        if self.noise == "skellam" and not 1 <= self.grid_steps <= _LARGEST:
            raise BudgetError(
                f"grid_steps is {self.grid_steps}: Skellam noise needs the L2 sensitivity in steps of the integer "
                "grid, from 1 to 1e50"
            )

    @property
    def is_free(self) -> bool:
        """Whether it releases nothing about any record."""
        return self.steps == 0 or self.sample_rate == 0

    def repeated(self, count: int) -> PrivacyEvent:
        """`count` of it, each with noise of its own; `count` is 0 or more."""
        return replace(self, steps=self.steps * count)
