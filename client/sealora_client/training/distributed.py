"""`distributed`: a site's part in one step is its clipped sum and its share of the noise.

Every site adds Skellam noise whose variance is a share of what the sum needs; shares add up to Skellam noise again
(Agarwal, Kairouz & Liu 2021, arXiv:2110.04995), so the opened sum is that of the central Skellam mechanism. What a
site sends is not private enough by itself: it leaves the site sealed and nowhere else.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.ledger import Leave
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.devices.group import DeviceGroup
from sealora_client.training.noise.meanwhile import noise_meanwhile
from sealora_client.training.noise.skellam import skellam
from sealora_client.training.payment import require_paid
from sealora_client.training.round_training import Release, RoundTraining, TrainedRound
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import Entropy
from sealora_common.errors import BudgetError
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import unclipped_share
from sealora_common.round.sum_grid import SumGrid


class DistributedTraining(RoundTraining):
    """One step a round, summed at the sites and taken at the server."""

    def train(
        self,
        model: AdaptedModel,
        population: Population,
        *,
        plan: TrainingPlan,
        recipe: Recipe,
        round_number: int,
        clip_norm: float,
        leave: Leave | None,
        entropy: Entropy,
        devices: DeviceGroup | None = None,
    ) -> TrainedRound:
        """As the base says; the adapter is left as it is."""
        grid = _grid(plan)
        require_paid(plan, leave, recipe=recipe, round_number=round_number)
        layout = adapter_kind(recipe).trained(model.layout, round_number)
        sums = ClippedSum(
            model,
            layout,
            population,
            plan=plan,
            recipe=recipe,
            clip_norm=clip_norm,
            entropy=entropy,
            devices=devices,
        )
        with sums:
            sample = sums.sample()
            with noise_meanwhile(partial(self.noise, plan, sums.size), entropy) as noise:
                total = sums.sum_of(sample).cpu().numpy()
                # Bounding coordinates brings two sums no further apart, so the sensitivity stays what it is.
                values = np.clip(total, -grid.site_limit, grid.site_limit).astype(np.int64)
                values += noise.take()
        return TrainedRound(values, unclipped=None, moved=True, figures=sums.figures)

    def noise(self, plan: TrainingPlan, size: int, entropy: Entropy) -> NDArray[np.int64]:
        """One site's share; those of as many sites as the plan counts on are what it accounts for."""
        return skellam(entropy, size, _grid(plan).noise_variance(plan.event.noise_multiplier))

    def becomes_known(
        self, trained: TrainedRound, *, plan: TrainingPlan, population: int, clip_norm: float, entropy: Entropy
    ) -> Release:
        """The opened sum, with the shares of noise of as many honest sites as the plan counts on."""
        grid, total = _grid(plan), trained.values.astype(np.int64)
        for _ in range(grid.honest_survivors - 1):
            total += self.noise(plan, len(total), entropy)
        opened = grid.decode(grid.encode(total)).astype(np.float64)
        expected = plan.expected_batch(population)
        return Release(
            change=-opened[: len(opened) - plan.votes] * (clip_norm / grid.grid_steps / expected),
            unclipped=unclipped_share(float(opened[-1]), grid.grid_steps, expected) if plan.votes else None,
        )


def _grid(plan: TrainingPlan) -> SumGrid:
    if plan.grid is None or plan.steps != 1:
        raise BudgetError("privacy.mechanism: distributed sums one step whose noise the sites share, and no other plan")
    return plan.grid
