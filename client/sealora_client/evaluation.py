"""The loss on records the model was not trained on: exact for the site itself, noisy for what leaves it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import micro_batches
from sealora_client.model.loss import collate, response_losses
from sealora_client.training.noise.rounded_gaussian import rounded_gaussian
from sealora_common.entropy import Entropy

_UNITS = 1 << 20  # grid steps that make the largest loss of a unit


@dataclass(frozen=True)
class HeldoutLoss:
    """Negative log-likelihood of held-out responses. LOCAL: it is not noisy and stays at the site.

    Attributes:
        nll_sum: nats over all response tokens.
        tokens: number of those tokens.
        by_unit: float64, shape (N,): each unit's mean over its examples of nats a token.
    """

    nll_sum: float
    tokens: int
    by_unit: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Nats a token; nan if there is no token."""
        return self.nll_sum / self.tokens if self.tokens else math.nan

    def noisy_mean(self, clip: float, noise_multiplier: float, entropy: Entropy) -> float:
        """The mean over units of their losses clipped to [0, `clip`], with Gaussian noise on the sum.

        Adding or removing a unit changes the sum by `clip` at most, so this is one release of the Gaussian mechanism
        with every unit in it. Losses are summed as integers and the noise is a rounded Gaussian, as in training.

        Args:
            clip: largest loss of a unit, in nats a token.
            noise_multiplier: the noise's standard deviation over `clip`.
            entropy: keys the noise.
        """
        steps = np.trunc(self._clipped(clip) * (_UNITS / clip))
        noisy = int(steps.sum()) + int(rounded_gaussian(entropy, 1, noise_multiplier * _UNITS)[0])
        return noisy * clip / _UNITS / len(self.by_unit)

    def clipped_mean(self, clip: float) -> float:
        """What `noisy_mean` is a noisy version of."""
        return float(self._clipped(clip).mean())

    def _clipped(self, clip: float) -> NDArray[np.float64]:
        """A loss that is not finite counts as the largest: the model knows nothing of such a unit."""
        return np.where(np.isfinite(self.by_unit), np.clip(self.by_unit, 0.0, clip), clip)


def heldout_loss(model: AdaptedModel, population: Population, micro_batch_size: int) -> HeldoutLoss:
    """Evaluates the adapter that is in `model` now, without dropout and without gradients.

    Micro-batches have the fixed shapes of training, so that a unit's loss is the same to the last bit whatever the
    other units are. An example without response tokens has a loss of zero.

    Args:
        model: left in the mode it was in.
        population: any number of held-out units.
        micro_batch_size: examples in memory at once.
    """
    owners = [owner for owner, unit in enumerate(population.units) for _ in unit]
    examples = [example for unit in population.units for example in unit]
    nll_sum, tokens = 0.0, 0
    by_unit = np.zeros(len(population))
    was_training = model.model.training
    model.model.eval()
    try:
        with torch.no_grad():
            for places in micro_batches(examples, micro_batch_size):
                own = [examples[place] for place in places]
                batch = collate(own, model.pad_id, model.device, micro_batch_size)
                nll, counts = (part[: len(own)].cpu() for part in response_losses(model.model, batch))
                nll_sum += float(nll.double().sum())
                tokens += int(counts.sum())
                means = (nll.double() / counts.clamp(min=1)).numpy()
                for place, mean in zip(places, means, strict=True):  # a unit's sum is in the order of its own examples
                    by_unit[owners[place]] += mean / len(population.units[owners[place]])
    finally:
        model.model.train(was_training)
    return HeldoutLoss(nll_sum=nll_sum, tokens=tokens, by_unit=by_unit)
