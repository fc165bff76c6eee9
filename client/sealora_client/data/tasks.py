"""Which task a record belongs to, and how much it counts in training for that.

The weight is on the loss of an example, before its gradient is clipped: what a unit of privacy can do to a sum stays
one clipping norm, whatever the weights. To draw tasks at rates of their own would change what a record's privacy costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sealora_client.data.example import Example
from sealora_client.data.record import Record
from sealora_common.recipe import Recipe


def is_weighed(record: Record, recipe: Recipe) -> bool:
    """Whether the recipe weighs the record's task, or does not tell tasks apart."""
    return recipe.data.task_field is None or record.task in recipe.objective.task_weights


def weighted(examples: Sequence[Example], records: Sequence[Record], recipe: Recipe) -> list[Example]:
    """The examples, each at the weight of its record's task beside the weight that it has.

    Args:
        examples: one for each record, in order.
        records: all of tasks that the recipe weighs, or of none, see `is_weighed`.
        recipe: its `objective.task_weights` is read.
    """
    if recipe.data.task_field is None:
        return list(examples)
    weights = [recipe.objective.task_weights[record.task or ""] for record in records]
    return [_times(example, weight) for example, weight in zip(examples, weights, strict=True)]


def _times(example: Example, weight: float) -> Example:
    following = tuple(_times(piece, weight) for piece in example.following)
    return replace(example, weight=example.weight * weight, following=following)
