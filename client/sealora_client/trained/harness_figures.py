"""What the harness's tasks came to, before and after: one row a task and metric, and how sure the difference is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from sealora_common.records.record import FiniteOrNone, WrittenRecord

_CLOSE = 1e-9


class HarnessRow(WrittenRecord):
    """One metric of one task, or of a group of tasks."""

    task: str
    metric: str
    filter: str
    """What was done with answers before they were judged; `none` as a rule."""
    shots: int | None
    """Examples that stand before each question; null of a group."""
    documents: int | None
    """That were asked; null of a group."""
    higher_is_better: bool | None
    before: FiniteOrNone
    """The base model's; null if it was not asked."""
    before_error: FiniteOrNone
    """Standard error; null if the harness has none."""
    after: FiniteOrNone
    """The adapter's."""
    after_error: FiniteOrNone
    difference: FiniteOrNone
    """After minus before."""
    difference_error: FiniteOrNone
    """Its standard error: of the differences document by document where the metric is a mean over documents."""

    @property
    def is_worse(self) -> bool:
        """Whether the adapter is worse than the base model by more than twice the standard error."""
        if self.difference is None or self.difference_error is None or self.higher_is_better is None:
            return False
        lost = -self.difference if self.higher_is_better else self.difference
        return lost > 2 * self.difference_error


class HarnessFigures(WrittenRecord):
    """All of it."""

    adapter: str
    """Which one, in a sentence."""
    harness: str
    """The version of lm-eval."""
    limit: int | None
    """Documents of each task that were asked at the most; null for all."""
    has_template: bool
    """Whether questions went through the chat template."""
    rows: tuple[HarnessRow, ...]


Found = Mapping[str, Any]
"""What the harness returns of one model: its own mapping, read here and nowhere else."""


def rows_of(before: Found | None, after: Found) -> tuple[HarnessRow, ...]:
    """One row for each figure of the adapter.

    Args:
        before: of the base model; None if it was not asked.
        after: of the adapter, on the same documents.
    """
    found = []
    for task, figures in after["results"].items():
        for key, value in figures.items():
            metric, _, chosen = key.partition(",")
            if metric.endswith("_stderr") or not chosen or not isinstance(value, int | float):
                continue
            found.append(_row(task, metric, chosen, before, after))
    return tuple(found)


def _row(task: str, metric: str, chosen: str, before: Found | None, after: Found) -> HarnessRow:
    value, error = _figure(after, task, metric, chosen)
    old, old_error = (None, None) if before is None else _figure(before, task, metric, chosen)
    difference = None if value is None or old is None else value - old
    difference_error = None
    if before is not None and difference is not None:
        difference_error = _paired_error(before, after, task, metric, chosen)
        if difference_error is None and error is not None and old_error is not None:
            difference_error = math.hypot(error, old_error)
    asked = after.get("n-samples", {}).get(task, {})
    better = after.get("higher_is_better", {}).get(task, {}).get(metric)
    return HarnessRow(
        task=task,
        metric=metric,
        filter=chosen,
        shots=after.get("n-shot", {}).get(task),
        documents=asked.get("effective"),
        higher_is_better=better if isinstance(better, bool) else None,
        before=old,
        before_error=old_error,
        after=value,
        after_error=error,
        difference=difference,
        difference_error=difference_error,
    )


def _figure(found: Found, task: str, metric: str, chosen: str) -> tuple[float | None, float | None]:
    figures = found["results"].get(task, {})
    return _number(figures.get(f"{metric},{chosen}")), _number(figures.get(f"{metric}_stderr,{chosen}"))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _paired_error(before: Found, after: Found, task: str, metric: str, chosen: str) -> float | None:
    """Of the mean over documents of what each gained; None where the metric is no such mean."""
    old, new = (_by_document(found, task, metric, chosen) for found in (before, after))
    if old is None or new is None or old.keys() != new.keys() or len(new) < 2:
        return None
    gains = [new[document] - old[document] for document in sorted(new)]
    return stdev(gains) / math.sqrt(len(gains))


def _by_document(found: Found, task: str, metric: str, chosen: str) -> dict[int, float] | None:
    samples: Sequence[Mapping[str, Any]] = (found.get("samples") or {}).get(task, ())
    values = {
        int(sample["doc_id"]): float(sample[metric])
        for sample in samples
        if sample.get("filter") == chosen and isinstance(sample.get(metric), int | float)
    }
    whole = _figure(found, task, metric, chosen)[0]
    if not values or whole is None or abs(fmean(values.values()) - whole) > _CLOSE:
        return None
    return values
