"""Which metric a recipe's evaluations tell the federation: the one place that says."""

from __future__ import annotations

from sealora_client.evaluation.accuracy import AccuracyMetric
from sealora_client.evaluation.answers import ExactMatchMetric, TokenAccuracyMetric
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.evaluation.metric import ReleasedMetric
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.evaluation import MetricName


def federation_metric(recipe: Recipe) -> ReleasedMetric:
    """The metric whose noisy mean leaves the site."""
    metrics: dict[MetricName, type[ReleasedMetric]] = {
        "loss": HeldoutLossMetric,
        "accuracy": AccuracyMetric,
        "exact_match": ExactMatchMetric,
        "token_accuracy": TokenAccuracyMetric,
    }
    return metrics[recipe.evaluation.metric]()
