"""What every privacy mechanism of a recipe must know of training: how a site trains a round, and what that gives away.

The mechanism itself, what it plans and what it refuses, is `sealora_common.privacy.mechanisms`; here is what needs
torch and the site's records.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.ledger import Leave
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.clipped_groups import ClippingFigures
from sealora_client.training.devices.group import DeviceGroup
from sealora_common.entropy import Entropy
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe


@dataclass(frozen=True)
class TrainedRound:
    """What one round of training made. `values` and `unclipped` carry noise; both leave the site, and only sealed.

    Attributes:
        values: what is sealed. A delta is float32, shape (P,): the trained tensors' change over the round, in order of
            the trained layout. A share of a sum is int64, shape (P,) or, with adaptive clipping, (P + 1,): gradients
            in grid steps plus this site's share of the noise.
        unclipped: noisy share of unclipped units, if the site adapts the clipping norm by itself; else None.
        moved: whether any parameter changed.
        figures: what clipping did. LOCAL: no noise protects them.
    """

    values: NDArray[np.float32] | NDArray[np.int64]
    unclipped: float | None
    moved: bool
    figures: ClippingFigures


@dataclass(frozen=True)
class Release:
    """What a round makes known.

    Attributes:
        change: float64, shape (P,): of the trained part of the adapter, before the server's optimiser.
        unclipped: noisy share of unclipped units, with adaptive clipping; else None.
    """

    change: NDArray[np.float64]
    unclipped: float | None


class RoundTraining(ABC):
    """How a site trains a round under one value of `privacy.mechanism`."""

    @abstractmethod
    def train(
        self,
        model: AdaptedModel,
        population: Population,
        *,
        plan: TrainingPlan,
        recipe: Recipe,
        round_number: int,
        clip_norm: float,
        leave: Leave | None,
        entropy: Entropy,
        devices: DeviceGroup | None = None,
    ) -> TrainedRound:
        """Trains a round from the adapter that is in `model` now.

        The caller has written the global adapter into the model, and holds `model.lock` where others may use the model.

        Args:
            model: a base model with the adapter on it. Which adapter it holds afterwards is open.
            population: the site's units of privacy, all of them: sampling is done here.
            plan: what is drawn, clipped and noised.
            recipe: for what the plan leaves open; nothing that is accounted is read from it.
            round_number: first round is 1.
            clip_norm: C of this round.
            leave: the ledger's charge for the plan's event, or a rehearsal of it; None if the plan adds no noise.
            entropy: keys the samples and the noise, and seeds dropout.
            devices: those that share the sums out with this process, prepared for the recipe; None for none.

        Raises:
            BudgetError: the leave is not for what would run, or the plan is another mechanism's.
            DataError: there are no examples.
            ModelError: the adapter cannot be trained by example.
        """

    @abstractmethod
    def noise(self, plan: TrainingPlan, size: int, entropy: Entropy) -> NDArray[np.int64]:
        """The noise that a site adds to one sum, int64 in grid steps, shape (size,).

        It takes one key from `entropy`, if anything, and may be called in a thread of its own.
        """

    @abstractmethod
    def becomes_known(
        self, trained: TrainedRound, *, plan: TrainingPlan, population: int, clip_norm: float, entropy: Entropy
    ) -> Release:
        """What the strongest adversary that the plan's event speaks of learns of a round.

        What other sites' records contribute is left out: the adversary may know them, and could subtract it.

        Args:
            trained: what the site sealed.
            plan: of the round.
            population: how many units it was trained on.
            clip_norm: C of the round.
            entropy: draws what other sites add.
        """
