"""`distributed`: each site adds a share of the noise to its integer sum, and the opened sum carries all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealora_common.privacy.mechanisms.calibrated import calibrated_round
from sealora_common.privacy.mechanisms.mechanism import PrivacyMechanism, Repeat, require_flat_clipping, require_no_seed
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.round.sum_grid import SumGrid

if TYPE_CHECKING:
    from sealora_common.recipe import Recipe

_NARROWEST_RING = 20  # bits: below it a distributed sum has too few levels for both noise and gradients

_OF_THE_SITES_OPTIMIZER = ("betas", "eps", "momentum", "weight_decay", "proximal_mu")


class Distributed(PrivacyMechanism):
    """Shares of noise. A sum that the seal protects is new each time it leaves, and is charged each time."""

    protects = True
    repeat: Repeat = "charged"
    may_regroup = False
    sums_on_grid = True

    def require(self, recipe: Recipe) -> None:
        """As the base says."""
        require_no_seed(recipe)
        if recipe.training.steps_per_round != 1:
            raise ValueError(
                f"privacy.mechanism: distributed takes one step a round, but training.steps_per_round is "
                f"{recipe.training.steps_per_round}: set it to 1 and raise rounds"
            )
        for name in _OF_THE_SITES_OPTIMIZER:
            if getattr(recipe.training, name) != type(recipe.training).model_fields[name].default:
                raise ValueError(
                    f"training.{name} belongs to steps that sites take, and with privacy.mechanism: distributed the "
                    "server takes them: leave it out, and choose in section server"
                )
        if recipe.sealing.ring_bits < _NARROWEST_RING:
            raise ValueError(
                f"privacy.mechanism: distributed needs sealing.ring_bits of {_NARROWEST_RING} or more (24 serves "
                f"most), not {recipe.sealing.ring_bits}: gradients and noise share the ring's levels"
            )
        if recipe.sealing.rotation or recipe.sealing.clip_range != "auto":
            raise ValueError(
                "privacy.mechanism: distributed sends integers of its own grid: leave out sealing.rotation and "
                "sealing.clip_range"
            )
        if recipe.sealing.groups > 1:
            raise ValueError(
                "privacy.mechanism: distributed needs the noise of all sites in one sum, and a group's sum would carry "
                "too little: leave out sealing.groups, or take privacy.mechanism: local"
            )
        if recipe.sealing.weighting != "records":
            raise ValueError(
                "privacy.mechanism: distributed divides the sum of all gradients by the batch expected of all sites' "
                "records: set sealing.weighting to records"
            )
        require_flat_clipping(recipe)

    def tally(self, recipe: Recipe) -> tuple[str, ...]:
        """Nothing: votes stand in the sum, under its noise."""
        return ()

    def grid(self, recipe: Recipe, roster_size: int) -> SumGrid:
        """As the base says."""
        return SumGrid.of(recipe, roster_size)

    def training_plan(self, recipe: Recipe, roster_size: int) -> TrainingPlan:
        """As the base says. It is the opened sum that is accounted: what the honest survivors add in noise."""
        grid = self.grid(recipe, roster_size)
        return TrainingPlan.of(recipe, calibrated_round(recipe, "skellam", grid.grid_steps), grid.grid_steps, grid)
