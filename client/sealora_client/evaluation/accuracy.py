"""How often the model is right, and for classes: what a classification is judged by."""

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
from sealora_client.objective.choice import classification_of
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure


@dataclass(frozen=True, kw_only=True)
class Accuracy(Measurement):
    """Hits among what held-out records ask. LOCAL: it is not noisy and stays at the site.

    Attributes:
        hits: what the model says right; where likeness is measured, parts of hits.
        terms: what it was asked: records that could be shown to it, or tokens of them.
        by_unit: float64, shape (N,): each unit's share of hits among its records; one that could not be shown is none.
    """

    hits: float
    terms: int

    @property
    def mean(self) -> float:
        """The share of hits; nan if nothing was asked."""
        return self.hits / self.terms if self.terms else math.nan


class AccuracyMetric(ReleasedMetric):
    """The share of records whose class the model finds likeliest, from 0 to 1.

    A unit changes the sum by 1 at the most, so no clipping takes anything away.
    """

    def public_range(self, recipe: Recipe) -> PublicRange:
        """All of it."""
        return PublicRange(0.0, HeldoutFigure.of(recipe).range_width(recipe), worst=0.0)

    def measure(self, model: AdaptedModel, population: Population, recipe: Recipe) -> Accuracy:
        """As the base says."""
        objective, size = classification_of(recipe), recipe.training.micro_batch_size

        def rows(examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
            hits = objective.hits(model, objective.batch(examples, model.pad_id, model.device, size))
            return hits.sums, hits.counts

        found = values_by_unit(model, population, size, rows)
        return Accuracy(hits=found.total, terms=found.terms, by_unit=found.by_unit)
