"""Which metric a recipe's evaluations tell the federation: the one place that says."""

from __future__ import annotations

from collections.abc import Callable

from sealora_client.evaluation.accuracy import AccuracyMetric
from sealora_client.evaluation.answers import ExactMatchMetric, TokenAccuracyMetric
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.evaluation.likeness import LikenessMetric
from sealora_client.evaluation.metric import ReleasedMetric
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.evaluation import MetricName


def federation_metric(recipe: Recipe) -> ReleasedMetric:
    """The metric whose noisy mean leaves the site; asked for before anything is charged, as it may be refused here.

    Raises:
        ModelError: a package that it takes is not installed.
    """
    metrics: dict[MetricName, Callable[[], ReleasedMetric]] = {
        "loss": HeldoutLossMetric,
        "accuracy": AccuracyMetric,
        "exact_match": ExactMatchMetric,
        "token_accuracy": TokenAccuracyMetric,
        "bleu": lambda: LikenessMetric("bleu"),
        "chrf": lambda: LikenessMetric("chrf"),
        "rouge_l": lambda: LikenessMetric("rouge_l"),
    }
    return metrics[recipe.evaluation.metric]()
