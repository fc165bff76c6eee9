"""How much of held-out responses the model says of itself: whole responses, or tokens of them.

A response's tokens are each predicted from those before it in the record, in one pass. So the likeliest ones are all
the response's where greedy decoding would write the response and end, and no completion need be written to know it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.evaluation.accuracy import Accuracy
from sealora_client.evaluation.by_unit import values_by_unit
from sealora_client.evaluation.metric import PublicRange, ReleasedMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.objective.objective import Losses
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure


class ExactMatchMetric(ReleasedMetric):
    """The share of records whose response greedy decoding gives to the letter, end of turn included; from 0 to 1."""

    def public_range(self, recipe: Recipe) -> PublicRange:
        """All of it."""
        return _whole_range(recipe)

    def measure(self, model: AdaptedModel, population: Population, recipe: Recipe) -> Accuracy:
        """As the base says. A record that could not be shown to the model is no hit."""

        def whole(hits: Losses) -> tuple[torch.Tensor, torch.Tensor]:
            learned = hits.counts > 0
            return (learned & (hits.sums == hits.counts)).float(), learned.long()

        return _measured(model, population, recipe, whole)


class TokenAccuracyMetric(ReleasedMetric):
    """The share of learned tokens that are the likeliest after those before them; from 0 to 1."""

    def public_range(self, recipe: Recipe) -> PublicRange:
        """All of it."""
        return _whole_range(recipe)

    def measure(self, model: AdaptedModel, population: Population, recipe: Recipe) -> Accuracy:
        """As the base says. A record that could not be shown to the model has none."""
        return _measured(model, population, recipe, lambda hits: (hits.sums, hits.counts))


def _whole_range(recipe: Recipe) -> PublicRange:
    return PublicRange(0.0, HeldoutFigure.of(recipe).range_width(recipe), worst=0.0)


def _measured(
    model: AdaptedModel,
    population: Population,
    recipe: Recipe,
    value: Callable[[Losses], tuple[torch.Tensor, torch.Tensor]],
) -> Accuracy:
    objective, size = CausalLanguageModelling(recipe.objective.loss_on), recipe.training.micro_batch_size

    def rows(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
        return value(objective.hits(model, objective.batch(examples, model.pad_id, model.device, size)))

    found = values_by_unit(model, population, size, rows)
    return Accuracy(hits=found.total, terms=found.terms, by_unit=found.by_unit)
