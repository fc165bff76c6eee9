"""`none`: the steps of `local`, of which the plan clips and noises none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sealora_client.training.local import LocalTraining
from sealora_common.entropy import Entropy
from sealora_common.privacy.releases import TrainingPlan


class PlainTraining(LocalTraining):
    """Training as without privacy: plain sums of the samples' gradients."""

    def noise(self, plan: TrainingPlan, size: int, entropy: Entropy) -> NDArray[np.int64]:
        """None at all."""
        return np.zeros(size, dtype=np.int64)
