"""Odds-ratio preference optimisation: to say the chosen response, and to prefer it to the rejected one.

With P(y) the geometric mean of the probabilities of y's tokens and odds(y) = P(y) / (1 - P(y)), the loss of one pair is
-log P(chosen) - lambda log sigmoid(log odds(chosen) - log odds(rejected)) (Hong, Lee & Thorne 2024, arXiv:2403.07691,
eq. 6 and 7). It needs no reference, and is of one record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from sealora_client.model.loss import Batch, response_losses
from sealora_client.objective.objective import Losses
from sealora_client.objective.pairs import PairObjective, by_pair, judged_whole

if TYPE_CHECKING:
    from sealora_client.model.adapted import AdaptedModel

_SUREST = 1e-8
"""Least mean negative log-likelihood of a token: what is quite certain has no odds."""


@dataclass(frozen=True)
class OddsRatioPreference(PairObjective):
    """The loss of a pair; counts are pairs.

    Attributes:
        weight: lambda.
    """

    weight: float

    def losses(self, model: AdaptedModel, batch: Batch) -> Losses:
        """See above."""
        sums, counts = response_losses(model.model, batch)
        return judged_whole(by_pair(self._of_pair, sums / counts.clamp(min=1)), batch)

    def _of_pair(self, chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        """Of mean negative log-likelihoods a token."""
        return chosen - self.weight * functional.logsigmoid(_log_odds(chosen) - _log_odds(rejected))


def _log_odds(nll: torch.Tensor) -> torch.Tensor:
    bounded = nll.clamp(min=_SUREST)
    return -bounded - torch.log(-torch.expm1(-bounded))
