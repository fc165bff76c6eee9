"""Which task a record belongs to, and how much it counts in training for that.

The weight is on the loss of an example, before its gradient is clipped: what a unit of privacy can do to a sum stays
one clipping norm, whatever the weights. To draw tasks at rates of their own would change what a record's privacy costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from sealora_client.data.example import Example
from sealora_client.data.record import Record
from sealora_client.data.source.places import Places
from sealora_common.errors import DataError
from sealora_common.recipe import Recipe


def require_tasks(path: Path, places: Places, records: Iterable[Record], recipe: Recipe) -> None:
    """Refuses records of a task that the recipe does not weigh.

    Args:
        path: of the site's data, for the sentence.
        places: where records stand, by their lines.
        records: any number of them.
        recipe: its `objective.task_weights` names every task, or none if tasks are not told apart.

    Raises:
        DataError: there are some.
    """
    if recipe.data.task_field is None:
        return
    lines = [record.line for record in records if record.task not in recipe.objective.task_weights]
    if lines:
        raise DataError(
            f'{path}, {places.listed(lines)}: the field "{recipe.data.task_field}" names a task that the recipe\'s '
            "objective.task_weights does not: add it there, or correct the records"
        )


def weighted(examples: Sequence[Example], records: Sequence[Record], recipe: Recipe) -> list[Example]:
    """The examples, each at the weight of its record's task beside the weight that it has.

    Args:
        examples: one for each record, in order.
        records: all of tasks that the recipe weighs, or of none.
        recipe: its `objective.task_weights` is read.
    """
    if recipe.data.task_field is None:
        return list(examples)
    weights = [recipe.objective.task_weights[record.task or ""] for record in records]
    return [_times(example, weight) for example, weight in zip(examples, weights, strict=True)]


def _times(example: Example, weight: float) -> Example:
    following = tuple(_times(piece, weight) for piece in example.following)
    return replace(example, weight=example.weight * weight, following=following)
