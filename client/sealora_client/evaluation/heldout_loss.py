"""The loss on records the model was not trained on: exact for the site itself, noisy for what leaves it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.evaluation.by_unit import values_by_unit
from sealora_client.evaluation.metric import Measurement, PublicRange, ReleasedMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective.choice import objective_of
from sealora_client.objective.objective import Objective
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure


@dataclass(frozen=True, kw_only=True)
class HeldoutLoss(Measurement):
    """The objective's loss on held-out records. LOCAL: it is not noisy and stays at the site.

    Attributes:
        nll_sum: over all that is predicted.
        tokens: number of its terms: tokens, or examples that are judged as a whole.
        by_unit: float64, shape (N,): each unit's mean over its examples of loss a term.
    """

    nll_sum: float
    tokens: int

    @property
    def mean(self) -> float:
        """The loss a term (a token, a pair, a record); nan if there is none."""
        return self.nll_sum / self.tokens if self.tokens else math.nan


class HeldoutLossMetric(ReleasedMetric):
    """The objective's loss, clipped to [0, `privacy.heldout_clip`], or to its own largest value if that is less."""

    def public_range(self, recipe: Recipe) -> PublicRange:
        """A loss that is not finite counts as the largest: the model knows nothing of such a unit."""
        return loss_range(HeldoutFigure.of(recipe).range_width(recipe))

    def measure(self, model: AdaptedModel, population: Population, recipe: Recipe) -> HeldoutLoss:
        """See `heldout_loss`."""
        return heldout_loss(model, objective_of(recipe), population, recipe.training.micro_batch_size)


def loss_range(clip: float) -> PublicRange:
    """Losses of up to `clip`, which is above 0."""
    return PublicRange(0.0, clip, worst=clip)


def heldout_loss(
    model: AdaptedModel, objective: Objective, population: Population, micro_batch_size: int
) -> HeldoutLoss:
    """Evaluates the adapter that is in `model` now, see `values_by_unit`.

    An example that predicts nothing has a loss of zero.

    Args:
        model: left in the mode it was in.
        objective: whose loss it is.
        population: any number of held-out units.
        micro_batch_size: examples in memory at once.
    """

    def rows(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
        losses = objective.losses(model, objective.batch(examples, model.pad_id, model.device, micro_batch_size))
        return losses.sums, losses.counts

    found = values_by_unit(model, population, micro_batch_size, rows)
    return HeldoutLoss(nll_sum=found.total, tokens=found.terms, by_unit=found.by_unit)
