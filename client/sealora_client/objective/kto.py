"""Kahneman-Tversky optimisation with its reference point at 0: wanted responses more than before, unwanted ones less.

With r = beta (log pi(y | x) - log pi_ref(y | x)), the loss of a record is 1 - sigmoid(r - z) if its response was wanted
and 1 - sigmoid(z - r) if not (Ethayarajh et al. 2024, arXiv:2402.01306, eq. 7 and 8). In the paper z is an estimate,
over a batch, of how far the model has moved: one record's would be in the gradients of all others, and no clipping of
gradients bounds that. So `kto` is refused, and this is `kto_zero`: with z = 0 the loss is of one record (D'Oosterlinck
et al. 2024, arXiv:2408.06266, "APO-zero", for records without a partner). The paper's lambdas are weights of examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.examples import to_examples
from sealora_client.data.record import Record
from sealora_client.model.loss import Batch, response_losses
from sealora_client.objective.objective import Losses, Objective
from sealora_client.objective.reference import Reference
from sealora_common.recipe.sections.data import DataSection

if TYPE_CHECKING:
    from sealora_client.model.adapted import AdaptedModel


@dataclass(frozen=True)
class _FeedbackBatch(Batch):
    """Rows that were wanted or not.

    Attributes:
        signs: 1.0 for each row that was wanted, else -1.0.
    """

    signs: tuple[float, ...]


@dataclass(frozen=True)
class WantedResponses(Objective):
    """The loss of a record, from 0 to 1; counts are records.

    Attributes:
        reference: pi_ref.
        beta: how closely the model is kept to it.
        wanted_weight: how much a wanted response counts in training.
        unwanted_weight: how much an unwanted one does.
    """

    reference: Reference
    beta: float
    wanted_weight: float = 1.0
    unwanted_weight: float = 1.0

    def examples(
        self,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        section: DataSection,
        vocabulary: int | None = None,
    ) -> list[Example]:
        """As for learning the response, with whether it was wanted."""
        shown = zip(records, to_examples(records, tokenizer, section, vocabulary), strict=True)
        return [
            replace(
                example,
                wanted=bool(record.wanted),
                weight=self.wanted_weight if record.wanted else self.unwanted_weight,
            )
            for record, example in shown
        ]

    def made_up(self, sequences: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Example:
        """The sequence as it is, wanted if its length is even."""
        return replace(sequences[0], wanted=len(sequences[0].tokens) % 2 == 0)

    def batch(
        self,
        examples: Sequence[Example],
        pad_id: int,
        device: torch.device | str,
        rows: int | None = None,
        length: int | None = None,
    ) -> Batch:
        """As for all, with what was wanted."""
        batch = super().batch(examples, pad_id, device, rows, length)
        signs = [1.0 if example.wanted else -1.0 for example in examples]
        return _FeedbackBatch(**vars(batch), signs=(*signs, *[1.0] * (batch.rows - len(signs))))

    def losses(self, model: AdaptedModel, batch: Batch) -> Losses:
        """See above. The reference comes first: it has the adapter changed meanwhile."""
        if not isinstance(batch, _FeedbackBatch):
            raise TypeError("expected a batch of this objective's own")
        before = self.reference.response_losses(model, batch).double()
        now, counts = response_losses(model.model, batch)
        # Row by row, see `pairs.by_pair`.
        found = [
            1 - torch.sigmoid(sign * self.beta * (was - sums))
            for was, sums, sign in zip(before.unbind(), now.double().unbind(), batch.signs, strict=True)
        ]
        counts = (counts > 0).long()
        return Losses(torch.where(counts > 0, torch.stack(found).float(), 0.0), counts)
