"""What a held-out metric must say of itself, who may see it at what cost, and how its noisy mean is released."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.noise.rounded_gaussian import rounded_gaussian
from sealora_common.entropy import Entropy
from sealora_common.privacy.releases import HeldoutPlan
from sealora_common.recipe import Recipe

GRID_STEPS = 1 << 20
"""Integers that make the width of a range when values are summed."""


@dataclass(frozen=True)
class PublicRange:
    """What one unit's value is clipped to before it enters a mean: known from the recipe, never from records.

    Attributes:
        low: the least value.
        high: the largest, above `low`.
        worst: what a value that is no number counts as: `low` or `high`.
    """

    low: float
    high: float
    worst: float

    def clip(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Float64 of the same shape, in the range; not-a-number and infinities become `worst`."""
        return np.where(np.isfinite(values), np.clip(values, self.low, self.high), self.worst)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A metric's value for each unit. LOCAL: it is not noisy and stays at the site.

    Attributes:
        by_unit: float64, shape (N,).
    """

    by_unit: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """The site's own figure, exact."""
        raise NotImplementedError

    def released_mean(self, public: PublicRange, plan: HeldoutPlan, entropy: Entropy) -> float:
        """What leaves the site: `noisy_mean`, or `plain_mean` if the plan adds no noise that clipping would be for."""
        return self.noisy_mean(public, plan, entropy) if plan.protects else self.plain_mean(public)

    def noisy_mean(self, public: PublicRange, plan: HeldoutPlan, entropy: Entropy) -> float:
        """The mean over units of their values clipped to `public`, with Gaussian noise on the sum.

        Adding or removing a unit changes the sum of what they exceed `public.low` by, by the range's width at most, so
        this is the plan's event: one release of the Gaussian mechanism with every unit in it. Values are summed as
        integers and the noise is a rounded Gaussian, as in training.

        Args:
            public: the metric's range.
            plan: its noise multiplier is the noise's standard deviation over the width of the range.
            entropy: keys the noise.
        """
        width = public.high - public.low
        steps = np.trunc((public.clip(self.by_unit) - public.low) * (GRID_STEPS / width))
        noise = rounded_gaussian(entropy, 1, plan.event.noise_multiplier * GRID_STEPS)
        return public.low + (int(steps.sum()) + int(noise[0])) * width / GRID_STEPS / len(self.by_unit)

    def plain_mean(self, public: PublicRange) -> float:
        """The mean over units, unclipped; of them a value that is no number counts as `public.worst`."""
        return float(np.where(np.isfinite(self.by_unit), self.by_unit, public.worst).mean())

    def clipped_mean(self, public: PublicRange) -> float:
        """What `noisy_mean` is a noisy version of."""
        return float(public.clip(self.by_unit).mean())


class Metric(Protocol):
    """One way to measure the adapter on held-out records. Its values are exact: only the site itself may see them."""

    def measure(self, model: AdaptedModel, population: Population, recipe: Recipe) -> Measurement:
        """The adapter that is in `model` now on all units of `population`; neither is changed.

        A unit's value is the same to the last bit whatever the other units are.
        """


class ReleasedMetric(Metric, Protocol):
    """A metric whose noisy mean the federation may see, at a cost. A release is made of no other."""

    def public_range(self, recipe: Recipe) -> PublicRange:
        """What one unit's value is clipped to before it leaves the site in a mean."""
