"""A site's part in one distributed step: its clipped sum and its share of the noise (the mechanism `distributed`).

Every site adds Skellam noise whose variance is a share of what the sum needs; shares add up to Skellam noise again
(Agarwal, Kairouz & Liu 2021, arXiv:2110.04995), so the opened sum is that of the central Skellam mechanism. What a
site sends is not private enough by itself: it leaves the site sealed and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.ledger import Leave
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.clipped_sum import ClippedSum, ClippingFigures
from sealora_client.training.noise.skellam import skellam
from sealora_client.training.payment import require_paid
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import Entropy
from sealora_common.errors import BudgetError
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe


@dataclass(frozen=True)
class NoisedSum:
    """A site's noised sum of one step.

    Attributes:
        values: int64, shape (P,) or, with adaptive clipping, (P + 1,): the sum in grid steps plus this site's share
            of the noise.
        figures: what clipping did. LOCAL: no noise protects them.
    """

    values: NDArray[np.int64]
    figures: ClippingFigures


def noised_sum(
    model: AdaptedModel,
    population: Population,
    *,
    plan: TrainingPlan,
    recipe: Recipe,
    round_number: int,
    clip_norm: float,
    leave: Leave | None,
    entropy: Entropy,
) -> NoisedSum:
    """Sums a Poisson sample's clipped gradients at the adapter that is in `model` now, and adds this site's noise.

    The caller holds `model.lock` where others may use the model. The adapter is left as it is.

    Args:
        model: a base model with the adapter on it.
        population: the site's units of privacy, all of them.
        plan: what is drawn, clipped and noised, and on which grid.
        recipe: for its objective and `lora.aggregation`; nothing that is accounted is read from it.
        round_number: first round is 1.
        clip_norm: C of this round.
        leave: the ledger's charge for the plan's event, which is the opened sum's, or a rehearsal of it.
        entropy: keys the sample and the noise, and seeds dropout.

    Raises:
        BudgetError: the leave is not for what would run, or the plan is not of one step of a shared sum.
        DataError: there are no examples.
        ModelError: the adapter cannot be trained by example.
    """
    grid = plan.grid
    if grid is None or plan.steps != 1:
        raise BudgetError("only one step of a sum that sites share the noise of can be summed: see `training.dp_sgd`")
    require_paid(plan, leave, recipe=recipe, round_number=round_number)
    layout = adapter_kind(recipe).trained(model.layout, round_number)
    sums = ClippedSum(model, layout, population, plan=plan, recipe=recipe, clip_norm=clip_norm, entropy=entropy)
    with sums:
        total = sums.draw().cpu().numpy()
    # Bounding coordinates brings two sums no further apart, so the sensitivity stays what it is.
    values = np.clip(total, -grid.site_limit, grid.site_limit).astype(np.int64)
    values += skellam(entropy, len(values), grid.noise_variance(plan.event.noise_multiplier))
    return NoisedSum(values, sums.figures)
