"""Direct preference optimisation: to prefer the chosen response more than the model did before it was trained.

With r(y) = log pi(y | x) - log pi_ref(y | x), the loss of one pair is -log sigmoid(beta (r(chosen) - r(rejected)))
(Rafailov et al. 2023, arXiv:2305.18290, eq. 7), with label smoothing e

    -(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d),    d = r(chosen) - r(rejected)

(Mitchell 2023, "A note on DPO with noisy preferences", eq. 3), or (d - 1 / (2 beta))^2 (Azar et al. 2023,
arXiv:2310.12036, eq. 17, its tau called beta) with log-likelihoods that are means over tokens, as trainers elsewhere
take them. All of it is of one record: nothing is estimated over a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from sealora_client.model.loss import Batch, response_losses
from sealora_client.objective.objective import Losses
from sealora_client.objective.pairs import PairObjective, by_pair, judged_whole
from sealora_client.objective.reference import Reference
from sealora_common.recipe.sections.objective import PairLoss

if TYPE_CHECKING:
    from sealora_client.model.adapted import AdaptedModel


@dataclass(frozen=True)
class DirectPreference(PairObjective):
    """The loss of a pair; counts are pairs.

    Attributes:
        reference: pi_ref.
        beta: how closely the model is kept to it.
        loss: which of the two.
        label_smoothing: e.
    """

    reference: Reference
    beta: float
    loss: PairLoss = "sigmoid"
    label_smoothing: float = 0.0

    def losses(self, model: AdaptedModel, batch: Batch) -> Losses:
        """See above. The reference comes first: it has the adapter changed meanwhile."""
        before = self.reference.response_losses(model, batch)
        now, counts = response_losses(model.model, batch)
        if self.loss == "ipo":
            before, now = (sums / counts.clamp(min=1) for sums in (before, now))
        return judged_whole(by_pair(self._of_pair, before, now), batch)

    def _of_pair(
        self, chosen_before: torch.Tensor, rejected_before: torch.Tensor, chosen: torch.Tensor, rejected: torch.Tensor
    ) -> torch.Tensor:
        """Of negative log-likelihoods."""
        difference = (chosen_before - chosen) - (rejected_before - rejected)
        if self.loss == "ipo":
            return (difference - 1 / (2 * self.beta)).square()
        right = functional.logsigmoid(self.beta * difference)
        if not self.label_smoothing:
            return -right
        wrong = functional.logsigmoid(-self.beta * difference)
        return -(1 - self.label_smoothing) * right - self.label_smoothing * wrong
