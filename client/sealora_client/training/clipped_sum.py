"""One step's sum of clipped gradients over a Poisson sample: what noise is added to, in both mechanisms.

The sum is a vector of integers (see `per_example`), so it is exact, and so is noise of integers added to it. With
adaptive clipping it has one more coordinate, a count of the units that were not clipped, so that one draw of noise
covers both (Andrew et al. 2021, arXiv:1905.03871, sec. 2): a unit brings its gradient at a length of at most
sqrt(1 - s^2) and its vote, +s or -s, which together are no longer than one clipping norm.

That a unit changes the sum by its own integers and nothing else takes more: that the other units' gradients are the
same to the last bit whether it was drawn or not. So every micro-batch has a fixed shape (`fixed_shape`), gradients are
added up, measured and clipped in a buffer with a fixed number of rows, and a person's row is added up in an order that
follows from their own records. Who was drawn decides how many micro-batches there are, and which row is whose.
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
from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.device import generators_beside_the_cpu, to_device
from sealora_client.model.fixed_shape import micro_batches, padded_length
from sealora_client.objective.choice import objective_of
from sealora_client.training.gradients.per_example import ClippedRows, PerExampleGradients
from sealora_client.training.sampling import choose, poisson_batch
from sealora_common.adapter import AdapterLayout
from sealora_common.entropy import Entropy
from sealora_common.errors import DataError
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import VOTE, steps_of_gradient

Unit = Sequence[Example]


@dataclass
class ClippingFigures:
    """What clipping did, over the steps of a round. LOCAL: no noise protects them, they stay at the site.

    Attributes:
        norms: of the gradients of all units drawn, before clipping.
        clipped: how many exceeded the clipping norm.
        non_finite: how many were not finite and contributed nothing.
        examples: how many examples were computed.
    """

    norms: list[float]
    clipped: int = 0
    non_finite: int = 0
    examples: int = 0

    def add(self, outcomes: Sequence[ClippedRows]) -> None:
        """What clipping did to some rows: one copy from their device, which is waited for here."""
        counts = [count.double() for outcome in outcomes for count in (outcome.clipped, outcome.non_finite)]
        told = torch.cat([torch.stack(counts), *(outcome.norms for outcome in outcomes)]).tolist()
        self.clipped += int(sum(told[0 : len(counts) : 2]))
        self.non_finite += int(sum(told[1 : len(counts) : 2]))
        self.norms += told[len(counts) :]

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


class ClippedSum:
    """Draws samples and sums their clipped gradients, while it is entered as a context manager.

    Args:
        model: the tensors of `layout` are made trainable; in training mode meanwhile, dropout drawn from `entropy`.
        layout: the trained part of the adapter.
        population: the site's units of privacy, all of them: sampling is done here.
        plan: how units are drawn, clipped and summed.
        recipe: for its objective and the size of micro-batches; nothing that is accounted is read from it.
        clip_norm: C of this round.
        entropy: keys every sample, and dropout.

    Attributes:
        size: length of the sums: P, and one more with adaptive clipping.
        figures: what clipping did so far.

    Raises:
        DataError: there are no examples.
        ModelError: the adapter cannot be trained by example.
    """

    def __init__(
        self,
        model: AdaptedModel,
        layout: AdapterLayout,
        population: Population,
        *,
        plan: TrainingPlan,
        recipe: Recipe,
        clip_norm: float,
        entropy: Entropy,
    ) -> None:
        if not len(population):
            raise DataError("there are no training records: name a data file that holds some")
        model.train_only(layout)
        self._model = model
        self._population = population
        self._plan = plan
        self._objective = objective_of(recipe)
        self._clip_norm = clip_norm
        self._entropy = entropy
        self._rows = recipe.training.micro_batch_size
        self._gradients = PerExampleGradients(model.tensors_of(layout), self._rows)
        self.size = layout.size + plan.votes
        self.figures = ClippingFigures([])
        self._entered = ExitStack()

    def __enter__(self) -> ClippedSum:
        self._entered.enter_context(self._gradients)
        self._entered.enter_context(_training_mode(self._model, self._entropy))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.close()

    def draw(self) -> torch.Tensor:
        """The sum of one Poisson sample, as `sum_of` gives it."""
        return self.sum_of(self.sample())

    def sample(self) -> list[Unit]:
        """One Poisson sample. All that a step takes from the entropy but its noise is taken here."""
        drawn = poisson_batch(self._entropy, len(self._population), self._plan.sample_rate)
        return [self._chosen(self._population.units[index]) for index in drawn]

    def sum_of(self, sample: Sequence[Unit]) -> torch.Tensor:
        """The sum of a sample: float64 of integers, shape (size,), zero for an empty sample.

        The device is waited for once, at the end, for what `figures` tell.

        Raises:
            ModelError: the loss does not reach the adapter.
        """
        total = torch.zeros(self.size, dtype=torch.float64, device=self._gradients.device)
        outcomes = [self._add(together, total) for together in _alike(sample, self._rows)]
        if outcomes:
            self.figures.add(outcomes)
            self.figures.examples += sum(len(unit) for unit in sample)
        return total

    def _chosen(self, unit: Unit) -> Unit:
        limit = self._plan.most_records
        return unit if len(unit) <= limit else [unit[i] for i in choose(self._entropy, len(unit), limit)]

    def _add(self, units: Sequence[Unit], total: torch.Tensor) -> ClippedRows:
        gradients, plan = self._gradients, self._plan
        gradients.start(self._rows)  # all of them, whatever there is: norms and sums are kernels of a shape, too
        # A unit's loss is the mean over its examples, each at its weight: before it is clipped, so that no weight
        # changes what a unit can do to the sum.
        flat = [(example, row, example.weight / len(unit)) for row, unit in enumerate(units) for example in unit]
        for places in micro_batches([example for example, _, _ in flat], self._rows):
            examples, owners, shares = zip(*(flat[place] for place in places), strict=True)
            batch = self._objective.batch(examples, self._model.pad_id, self._model.device, self._rows)
            gradients.begin(self._objective.owners(owners), batch.length, batch.rows)
            losses = self._objective.losses(self._model, batch).means
            weights = torch.zeros(len(losses), dtype=losses.dtype)
            weights[: len(shares)] = torch.tensor(shares)
            (losses * to_device(weights, losses.device)).sum().backward()  # type: ignore[no-untyped-call]
        sums = total[: gradients.size]
        if not plan.grid_steps:
            outcome = gradients.sum_(sums)
        else:
            kept = steps_of_gradient(plan.grid_steps) if plan.votes else plan.grid_steps
            outcome = gradients.truncated_sum_(sums, self._clip_norm, kept, per_layer=plan.per_layer)
        outcome = replace(outcome, norms=outcome.norms[: len(units)])
        if plan.votes:
            unclipped = (outcome.norms <= self._clip_norm).sum()
            total[-1] += math.floor(VOTE * plan.grid_steps) * (2 * unclipped - len(units))
        return outcome


def _alike(units: Sequence[Unit], size: int) -> Iterator[list[Unit]]:
    """At most `size` units at a time whose longest examples are alike in padded length, the longest first.

    Their micro-batches have few dummies then. Clipping is by unit, so grouping does not change the sum.
    """

    def lengths(unit: Unit) -> list[int]:
        return sorted((padded_length(example.length) for example in unit), reverse=True)

    longest_first = sorted(units, key=lengths, reverse=True)
    for _, alike in groupby(longest_first, key=lambda unit: lengths(unit)[0]):
        group = list(alike)
        for start in range(0, len(group), size):
            yield group[start : start + size]


@contextmanager
def _training_mode(model: AdaptedModel, entropy: Entropy) -> Iterator[None]:
    """Dropout on, and drawn from `entropy` without disturbing the process's generator; afterwards as before."""
    was_training = model.model.training
    with torch.random.fork_rng(devices=generators_beside_the_cpu(model.device)), torch.enable_grad():
        torch.manual_seed(int.from_bytes(entropy.bytes(8), "big") >> 1)
        model.model.train()
        try:
            yield
        finally:
            model.model.train(was_training)
