"""Telling training records from others by their loss under the final adapter (Yeom et al. 2018, arXiv:1709.01604)."""

from __future__ import annotations

from sealora_client.audit.roc import Roc
from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.model.adapted import AdaptedModel
from sealora_common.recipe import Recipe


def membership_attack(model: AdaptedModel, members: Population, others: Population, recipe: Recipe) -> Roc:
    """How well a low loss under the adapter that is in `model` tells the site's trained units from its held-out ones.

    Unlike the canaries' coins, it was not chance that split these records: where the two parts differ by themselves
    (in time, say), the curve shows that too.

    Args:
        model: left in the mode it was in.
        members: units that were trained on, two or more.
        others: units that were not, two or more.
        recipe: says whose loss it is, and how many examples are in memory at once.
    """
    metric = HeldoutLossMetric()
    of_members = metric.measure(model, members, recipe).by_unit
    of_others = metric.measure(model, others, recipe).by_unit
    return Roc.of(-of_members, -of_others)
