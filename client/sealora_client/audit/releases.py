"""What one site's round makes known to the strongest adversary that the mechanism's claim speaks of.

`local`: the site's own change of the adapter, as the claim holds against the server and all other sites together.
`distributed`: the opened sum, with the shares of noise of as many honest sites as the claim counts on. What other
sites' records contribute is left out: the adversary may know them, and could subtract it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.distributed import noised_sum
from sealora_client.training.dp_sgd import train_round
from sealora_client.training.noise.skellam import skellam
from sealora_common.entropy import Entropy
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import unclipped_share


@dataclass(frozen=True)
class Release:
    """What a round makes known.

    Attributes:
        change: float64, shape (P,): of the trained part of the adapter, before the server's optimiser.
        unclipped: noisy share of unclipped units, with adaptive clipping; else None.
    """

    change: NDArray[np.float64]
    unclipped: float | None


def release_round(
    model: AdaptedModel,
    population: Population,
    *,
    plan: TrainingPlan,
    recipe: Recipe,
    round_number: int,
    clip_norm: float,
    entropy: Entropy,
) -> Release:
    """Does a round's work on `population`, from the adapter that is in `model` now.

    Args:
        model: afterwards it may hold another adapter.
        population: all units of the site.
        plan: what the round does and is accounted as.
        recipe: for what the plan leaves open.
        round_number: first round is 1.
        clip_norm: C of the round.
        entropy: draws samples and noise, of the other sites too.

    Raises:
        SealoraError: the data or the model cannot be used.
    """
    grid, leave = plan.grid, Rehearsal(plan.event) if plan.protects else None
    if grid is None:
        trained = train_round(
            model,
            population,
            plan=plan,
            recipe=recipe,
            round_number=round_number,
            leave=leave,
            entropy=entropy,
            clip_norm=clip_norm,
        )
        return Release(trained.delta.astype(np.float64), trained.unclipped)
    total = noised_sum(
        model,
        population,
        plan=plan,
        recipe=recipe,
        round_number=round_number,
        clip_norm=clip_norm,
        leave=leave,
        entropy=entropy,
    ).values
    for _ in range(grid.honest_survivors - 1):
        total += skellam(entropy, len(total), grid.noise_variance(plan.event.noise_multiplier))
    opened = grid.decode(grid.encode(total)).astype(np.float64)
    expected = plan.expected_batch(len(population))
    return Release(
        change=-opened[: len(opened) - plan.votes] * (clip_norm / grid.units / expected),
        unclipped=unclipped_share(float(opened[-1]), grid.units, expected) if plan.votes else None,
    )
