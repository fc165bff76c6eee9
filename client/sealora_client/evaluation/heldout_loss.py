"""The loss on records the model was not trained on: exact for the site itself, noisy for what leaves it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from sealora_client.data.population import Population
from sealora_client.evaluation.metric import Measurement, Metric, PublicRange
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import micro_batches
from sealora_client.objective.choice import objective_of
from sealora_client.objective.objective import Objective
from sealora_common.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class HeldoutLoss(Measurement):
    """The objective's loss on held-out records. LOCAL: it is not noisy and stays at the site.

    Attributes:
        nll_sum: over all that is predicted, in nats where that is a response's tokens.
        tokens: number of those tokens.
        by_unit: float64, shape (N,): each unit's mean over its examples of nats a token.
    """

    nll_sum: float
    tokens: int

    @property
    def mean(self) -> float:
        """Nats a token; nan if there is no token."""
        return self.nll_sum / self.tokens if self.tokens else math.nan


class HeldoutLossMetric(Metric):
    """The objective's loss, clipped to [0, `privacy.heldout_clip`]."""

    unit = "nats a token"

    def public_range(self, recipe: Recipe) -> PublicRange:
        """A loss that is not finite counts as the largest: the model knows nothing of such a unit."""
        return loss_range(recipe.privacy.heldout_clip)

    def measure(self, model: AdaptedModel, population: Population, recipe: Recipe) -> HeldoutLoss:
        """See `heldout_loss`."""
        return heldout_loss(model, objective_of(recipe), population, recipe.training.micro_batch_size)


def loss_range(clip: float) -> PublicRange:
    """Losses of up to `clip`, which is above 0."""
    return PublicRange(0.0, clip, worst=clip)


def heldout_loss(
    model: AdaptedModel, objective: Objective, population: Population, micro_batch_size: int
) -> HeldoutLoss:
    """Evaluates the adapter that is in `model` now, without dropout and without gradients.

    Micro-batches have the fixed shapes of training, so that a unit's loss is the same to the last bit whatever the
    other units are. An example that predicts nothing has a loss of zero.

    Args:
        model: left in the mode it was in.
        objective: whose loss it is.
        population: any number of held-out units.
        micro_batch_size: examples in memory at once.
    """
    owners = [owner for owner, unit in enumerate(population.units) for _ in unit]
    examples = [example for unit in population.units for example in unit]
    nll_sum, tokens = 0.0, 0
    by_unit = np.zeros(len(population))
    was_training = model.model.training
    model.model.eval()
    try:
        with torch.no_grad():
            for places in micro_batches(examples, micro_batch_size):
                own = [examples[place] for place in places]
                losses = objective.losses(
                    model.model, objective.batch(own, model.pad_id, model.device, micro_batch_size)
                )
                nll, counts = (part[: len(own)].cpu() for part in (losses.sums, losses.counts))
                nll_sum += float(nll.double().sum())
                tokens += int(counts.sum())
                means = (nll.double() / counts.clamp(min=1)).numpy()
                for place, mean in zip(places, means, strict=True):  # a unit's sum is in the order of its own examples
                    by_unit[owners[place]] += mean / len(population.units[owners[place]])
    finally:
        model.model.train(was_training)
    return HeldoutLoss(nll_sum=nll_sum, tokens=tokens, by_unit=by_unit)
