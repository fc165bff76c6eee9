"""The loss on records the model was not trained on: exact for the site itself, noisy for what leaves it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import collate, response_losses
from sealora_client.training.rounded_gaussian import rounded_gaussian
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
        steps = np.trunc(np.clip(np.nan_to_num(self.by_unit, nan=clip), 0.0, clip) * (_UNITS / clip))
        noisy = int(steps.sum()) + int(rounded_gaussian(entropy, 1, noise_multiplier * _UNITS)[0])
        return noisy * clip / _UNITS / len(self.by_unit)

    def clipped_mean(self, clip: float) -> float:
        """What `noisy_mean` is a noisy version of."""
        return float(np.clip(self.by_unit, 0.0, clip).mean())


def heldout_loss(model: AdaptedModel, population: Population, micro_batch_size: int) -> HeldoutLoss:
    """Evaluates the adapter that is in `model` now, without dropout and without gradients.

    Args:
        model: left in the mode it was in.
        population: any number of held-out units.
        micro_batch_size: examples in memory at once.
    """
    examples = [(example, owner) for owner, unit in enumerate(population.units) for example in unit]
    examples.sort(key=lambda pair: -len(pair[0].tokens))
    nll_sum, tokens = 0.0, 0
    by_unit = np.zeros(len(population))
    was_training = model.model.training
    model.model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(examples), micro_batch_size):
                batch, owners = _unzip(examples[start : start + micro_batch_size])
                nll, counts = response_losses(model.model, collate(batch, model.pad_id, model.device))
                nll_sum += float(nll.double().sum())
                tokens += int(counts.sum())
                means = (nll.double() / counts.clamp(min=1)).cpu().numpy()
                np.add.at(by_unit, owners, means / [len(population.units[owner]) for owner in owners])
    finally:
        model.model.train(was_training)
    return HeldoutLoss(nll_sum=nll_sum, tokens=tokens, by_unit=by_unit)


def _unzip(pairs: Sequence[tuple[Example, int]]) -> tuple[list[Example], list[int]]:
    return [example for example, _ in pairs], [owner for _, owner in pairs]
