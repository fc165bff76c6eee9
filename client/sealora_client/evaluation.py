"""The loss on records the model was not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import collate, response_losses


@dataclass(frozen=True)
class HeldoutLoss:
    """Negative log-likelihood of held-out responses, as sums, which add up over sites.

    Attributes:
        nll_sum: nats over all response tokens.
        tokens: number of those tokens.
    """

    nll_sum: float
    tokens: int

    @property
    def mean(self) -> float:
        """Nats a token; nan if there is no token."""
        return self.nll_sum / self.tokens if self.tokens else math.nan


def heldout_loss(model: AdaptedModel, examples: Sequence[Example], micro_batch_size: int) -> HeldoutLoss:
    """Evaluates the adapter that is in `model` now, without dropout and without gradients.

    It describes the site's records and is not noisy: it leaves the site only within a sealed sum.

    Args:
        model: left in the mode it was in.
        examples: any number of held-out records.
        micro_batch_size: examples in memory at once.
    """
    nll_sum, tokens = 0.0, 0
    ordered = sorted(examples, key=lambda example: -len(example.tokens))
    was_training = model.model.training
    model.model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(ordered), micro_batch_size):
                batch = collate(ordered[start : start + micro_batch_size], model.pad_id, model.device)
                nll, counts = response_losses(model.model, batch)
                nll_sum += float(nll.double().sum())
                tokens += int(counts.sum())
    finally:
        model.model.train(was_training)
    return HeldoutLoss(nll_sum=nll_sum, tokens=tokens)
