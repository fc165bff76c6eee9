"""The sum of clipped gradients of some units that others have drawn: what any device of a site computes.

Nothing is drawn here. Which units there are, and the seed of their dropout's masks, is told by `clipped_sum`; so it
makes no difference to the last bit which device computes a group, or in which order groups are computed.

What clipping did stays on the device until all groups are asked for, and is then read at once: a GPU that is read after
each group is idle as often (`model.device`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from types import TracebackType

import torch

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.device import generators_beside_the_cpu, to_device
from sealora_client.model.fixed_shape import micro_batches, padded_length
from sealora_client.objective.choice import objective_of
from sealora_client.training.gradients.per_example import ClippedRows, PerExampleGradients
from sealora_common.adapter import AdapterLayout
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import VOTE, steps_of_gradient

Unit = Sequence[Example]


@dataclass(frozen=True)
class Group:
    """Units whose gradients share a buffer.

    Attributes:
        units: at most as many as the recipe's micro-batches have rows.
        seed: of its dropout's masks, below 2^63. It follows from no record.
    """

    units: Sequence[Unit]
    seed: int


@dataclass
class ClippingFigures:
    """What clipping did to a group, or over a round's steps. LOCAL: no noise protects them, they stay at the site.

    Attributes:
        norms: of the gradients of all units drawn, before clipping, in their order.
        clipped: how many exceeded the clipping norm.
        non_finite: how many were not finite and contributed nothing.
        examples: how many examples were computed.
    """

    norms: list[float]
    clipped: int = 0
    non_finite: int = 0
    examples: int = 0

    @property
    def median_norm(self) -> float:
        """Of the finite norms; nan if there is none."""
        finite = sorted(norm for norm in self.norms if math.isfinite(norm))
        return finite[len(finite) // 2] if finite else math.nan

    @property
    def clipped_fraction(self) -> float:
        """Of the units with a finite gradient; nan if there is none."""
        finite = len(self.norms) - self.non_finite
        return self.clipped / finite if finite else math.nan

    def add(self, more: ClippingFigures) -> None:
        """Counts what clipping did to others."""
        self.norms += more.norms
        self.clipped += more.clipped
        self.non_finite += more.non_finite
        self.examples += more.examples


@dataclass(frozen=True)
class SumTerms:
    """How units are summed, the same for all of a round.

    Attributes:
        layout: the trained part of the adapter.
        plan: how units are clipped and summed.
        recipe: for its objective and the size of micro-batches; nothing that is accounted is read from it.
        clip_norm: C of the round.
    """

    layout: AdapterLayout
    plan: TrainingPlan
    recipe: Recipe
    clip_norm: float

    @property
    def size(self) -> int:
        """Length of the sums: P, and one more with adaptive clipping."""
        return self.layout.size + self.plan.votes

    @property
    def is_exact(self) -> bool:
        """Whether sums are of integers, and so the same in whatever order they are added."""
        return self.plan.grid_steps > 0


class ClippedGroups:
    """Sums groups' clipped gradients while it is entered as a context manager.

    Args:
        model: the tensors of the terms' layout are made trainable; in training mode meanwhile.
        terms: of the round.

    Raises:
        ModelError: the adapter cannot be trained by example.
    """

    def __init__(self, model: AdaptedModel, terms: SumTerms) -> None:
        model.train_only(terms.layout)
        self.model = model
        self.terms = terms
        self._objective = objective_of(terms.recipe)
        self._rows = terms.recipe.training.micro_batch_size
        self._gradients = PerExampleGradients(model.tensors_of(terms.layout), self._rows)
        self._entered = ExitStack()

    def __enter__(self) -> ClippedGroups:
        self._entered.enter_context(self._gradients)
        self._entered.enter_context(_training_mode(self.model))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.close()

    def zeros(self) -> torch.Tensor:
        """Float64, shape (size,), on the model's device: a sum of nothing."""
        return torch.zeros(self.terms.size, dtype=torch.float64, device=self._gradients.device)

    def add_all(self, groups: Sequence[Group], total: torch.Tensor) -> list[ClippingFigures]:
        """Adds the groups' sums to `total` as `add` does, one after the other; returns the figures of each.

        The device is waited for once, at the end.

        Raises:
            ModelError: the loss does not reach the adapter.
        """
        return _read(groups, [self.add(group, total) for group in groups])

    def add(self, group: Group, total: torch.Tensor) -> ClippedRows:
        """Adds a group's sum to `total` in place: float64 of integers, shape (size,); of plain gradients without
        a grid.

        Returns:
            What clipping did to its units, on the device still.

        Raises:
            ModelError: the loss does not reach the adapter.
        """
        gradients, plan, units = self._gradients, self.terms.plan, group.units
        torch.manual_seed(group.seed)
        gradients.start(self._rows)  # all of them, whatever there is: norms and sums are kernels of a shape, too
        # A unit's loss is the mean over its examples, each at its weight: before it is clipped, so that no weight
        # changes what a unit can do to the sum.
        flat = [(example, row, example.weight / len(unit)) for row, unit in enumerate(units) for example in unit]
        for places in micro_batches([example for example, _, _ in flat], self._rows):
            examples, owners, shares = zip(*(flat[place] for place in places), strict=True)
            batch = self._objective.batch(examples, self.model.pad_id, self.model.device, self._rows)
            gradients.begin(self._objective.owners(owners), batch.length, batch.rows)
            losses = self._objective.losses(self.model, batch).means
            weights = torch.zeros(len(losses), dtype=losses.dtype)
            weights[: len(shares)] = torch.tensor(shares)
            (losses * to_device(weights, losses.device)).sum().backward()  # type: ignore[no-untyped-call]
        sums = total[: gradients.size]
        if not self.terms.is_exact:
            outcome = gradients.sum_(sums)
        else:
            kept = steps_of_gradient(plan.grid_steps) if plan.votes else plan.grid_steps
            outcome = gradients.truncated_sum_(sums, self.terms.clip_norm, kept, per_layer=plan.per_layer)
        outcome = replace(outcome, norms=outcome.norms[: len(units)])
        if plan.votes:
            unclipped = (outcome.norms <= self.terms.clip_norm).sum()
            total[-1] += math.floor(VOTE * plan.grid_steps) * (2 * unclipped - len(units))
        return outcome


def _read(groups: Sequence[Group], outcomes: Sequence[ClippedRows]) -> list[ClippingFigures]:
    """What clipping did to each group: one copy from their device, which is waited for here."""
    if not groups:
        return []
    counts = [count.double() for outcome in outcomes for count in (outcome.clipped, outcome.non_finite)]
    told = iter(torch.cat([torch.stack(counts), *(outcome.norms for outcome in outcomes)]).tolist())
    both = [(int(next(told)), int(next(told))) for _ in groups]
    return [
        ClippingFigures(
            norms=[next(told) for _ in group.units],
            clipped=clipped,
            non_finite=non_finite,
            examples=sum(len(unit) for unit in group.units),
        )
        for group, (clipped, non_finite) in zip(groups, both, strict=True)
    ]


def alike(units: Sequence[Unit], size: int) -> Iterator[list[Unit]]:
    """At most `size` units at a time whose longest examples are alike in padded length, the longest first.

    Their micro-batches have few dummies then. Clipping is by unit, so grouping does not change the sum.
    """

    def lengths(unit: Unit) -> list[int]:
        return sorted((padded_length(example.length) for example in unit), reverse=True)

    longest_first = sorted(units, key=lengths, reverse=True)
    for _, same in groupby(longest_first, key=lambda unit: lengths(unit)[0]):
        together = list(same)
        for start in range(0, len(together), size):
            yield together[start : start + size]


@contextmanager
def _training_mode(model: AdaptedModel) -> Iterator[None]:
    """Dropout on, without disturbing the process's generator; afterwards as before."""
    was_training = model.model.training
    with torch.random.fork_rng(devices=generators_beside_the_cpu(model.device)), torch.enable_grad():
        model.model.train()
        try:
            yield
        finally:
            model.model.train(was_training)
