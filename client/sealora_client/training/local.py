"""`local`: the site trains a delta by itself, with noise of its own in every step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.ledger import Leave
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.devices.group import DeviceGroup
from sealora_client.training.dp_sgd import step_noise, train_round
from sealora_client.training.round_training import Release, RoundTraining, TrainedRound
from sealora_common.entropy import Entropy
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe


class LocalTraining(RoundTraining):
    """DP-SGD at the site. Its delta carries a promise of its own, against the server and all other sites together."""

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
        """As the base says; the model is left with the trained adapter in it."""
        return train_round(
            model,
            population,
            plan=plan,
            recipe=recipe,
            round_number=round_number,
            leave=leave,
            entropy=entropy,
            clip_norm=clip_norm,
            devices=devices,
        )

    def noise(self, plan: TrainingPlan, size: int, entropy: Entropy) -> NDArray[np.int64]:
        """As the base says."""
        return step_noise(plan, size, entropy)

    def becomes_known(
        self, trained: TrainedRound, *, plan: TrainingPlan, population: int, clip_norm: float, entropy: Entropy
    ) -> Release:
        """The site's own delta."""
        return Release(trained.values.astype(np.float64), trained.unclipped)
