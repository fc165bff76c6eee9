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

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from types import TracebackType

import torch

from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.clipped_groups import ClippedGroups, ClippingFigures, Group, SumTerms, Unit, alike
from sealora_client.training.devices.group import DeviceGroup
from sealora_client.training.sampling import choose, poisson_batch
from sealora_common.adapter import AdapterLayout
from sealora_common.entropy import Entropy
from sealora_common.errors import DataError
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe


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
        devices: those that share the sums out with this process, which are the same to the last bit; None for none.

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
        devices: DeviceGroup | None = None,
    ) -> None:
        if not len(population):
            raise DataError("there are no training records: name a data file that holds some")
        self._groups = ClippedGroups(model, SumTerms(layout, plan, recipe, clip_norm))
        self._population = population
        self._plan = plan
        self._entropy = entropy
        self._rows = recipe.training.micro_batch_size
        self._devices = devices
        self._masks = b""
        self._group_numbers = count()
        self.size = self._groups.terms.size
        self.figures = ClippingFigures([])
        self._entered = ExitStack()

    def __enter__(self) -> ClippedSum:
        self._masks = self._entropy.bytes(8)
        self._entered.enter_context(self._groups)
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
        total = self._groups.zeros()
        groups = [Group(together, self._seed()) for together in alike(sample, self._rows)]
        if self._devices is None:
            told = self._groups.add_all(groups, total)
        else:
            told = self._devices.add(self._groups, groups, total)
        for figures in told:
            self.figures.add(figures)
        return total

    def _chosen(self, unit: Unit) -> Unit:
        limit = self._plan.most_records
        return unit if len(unit) <= limit else [unit[i] for i in choose(self._entropy, len(unit), limit)]

    def _seed(self) -> int:
        """Of the next group's masks: of its own, so that they are the same whoever computes it, and when."""
        number = next(self._group_numbers).to_bytes(8, "big")
        return int.from_bytes(hashlib.blake2b(number, key=self._masks, digest_size=8).digest(), "big") >> 1
