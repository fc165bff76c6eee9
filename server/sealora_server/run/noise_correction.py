"""FedAdam whose second moment is of the gradient alone: the noise's share of it is known, and is taken out.

Tang, Shpilevskiy & Lécuyer, "DP-AdamBC: Your DP-Adam Is Actually DP-SGD (Unless You Apply Bias Correction)", AAAI 2024,
arXiv:2312.14334. Noise of variance s^2 on a mean gradient adds s^2 to what its square is expected to be, on every
coordinate alike, and where it is most of it, Adam's rates for each parameter are no more than one rate for all. How
large it is follows from public values, so subtracting it is post-processing and costs no privacy.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAdam
from numpy.typing import NDArray

from sealora_common.privacy.noise_law.step_noise import noise_of_mean
from sealora_common.recipe import Recipe
from sealora_common.round.contribution import OpenedRound

LEAST = 1.0
"""Of the noise's second moment, what is left at least: a coordinate says nothing more of a gradient below the noise."""


class NoiseCorrectedFedAdam(FedAdam):
    """Flower's FedAdam, its steps divided by the corrected second moment; without noise they are Flower's to the bit.

    Attributes:
        noise_std: s, standard deviation of the noise on each coordinate of the mean that is aggregated next; to be set
            before each round.
        noise_moment: what noise has made of the second moment so far: its variances, averaged as `v_t` is.
    """

    noise_std: float = 0.0
    noise_moment: float = 0.0

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As Flower's, but for the second moment that the step is divided by."""
        stepped, metrics = super().aggregate_train(server_round, replies)
        if stepped is None or self.current_arrays is None or self.v_t is None:
            return stepped, metrics
        self.noise_moment = self.beta_2 * self.noise_moment + (1 - self.beta_2) * self.noise_std**2
        arrays = {}
        for name, before in self.current_arrays.items():
            step = self._corrected(stepped[name].numpy() - before, self.v_t[name])
            arrays[name] = Array(before + step)
        return ArrayRecord(arrays), metrics

    def _corrected(self, step: NDArray[np.float32], second_moment: NDArray[np.float32]) -> NDArray[np.float32]:
        """A step of FedAdam's, its coordinates divided by what the gradient alone makes of `second_moment`.

        It is as long as it was, so that learning rates mean the same with much noise, with little and with none.
        """
        left = np.maximum(second_moment - self.noise_moment, LEAST * self.noise_moment)
        divided = step * ((np.sqrt(second_moment) + self.tau) / (np.sqrt(left) + self.tau))
        length = float(np.linalg.norm(divided))
        kept: NDArray[np.float32] = divided * (float(np.linalg.norm(step)) / length) if length else step
        return kept


def known_noise(recipe: Recipe, roster_size: int, opened: OpenedRound, clip_norm: float) -> float:
    """Standard deviation of the noise on each coordinate of an opened mean, if the recipe's optimiser asks for it.

    Args:
        recipe: of the run.
        roster_size: sites of the round's roster.
        opened: what the round's sum says.
        clip_norm: C of the round.

    Returns:
        0 where the recipe does not ask, or no noise is added.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
    """
    if not recipe.server.noise_correction:
        return 0.0
    return noise_of_mean(recipe, roster_size, len(opened.survivors), opened.total_weight, clip_norm)
