"""Which metric a recipe's evaluations tell the federation: the one place that says."""

from __future__ import annotations

from sealora_client.evaluation.accuracy import AccuracyMetric
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.evaluation.metric import ReleasedMetric
from sealora_common.recipe import Recipe


def federation_metric(recipe: Recipe) -> ReleasedMetric:
    """The metric whose noisy mean leaves the site."""
    return AccuracyMetric() if recipe.evaluation.metric == "accuracy" else HeldoutLossMetric()
