"""Causal language modelling: each token that is learned is predicted from those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.examples import to_examples
from sealora_client.data.record import Record
from sealora_client.model.loss import Batch, response_losses, sum_of_responses
from sealora_client.objective.objective import Losses, Objective
from sealora_common.recipe.sections.data import DataSection
from sealora_common.recipe.sections.objective import LossOn

if TYPE_CHECKING:
    from sealora_client.model.adapted import AdaptedModel


@dataclass(frozen=True)
class CausalLanguageModelling(Objective):
    """The negative log-likelihood of what is learned, in nats; counts are tokens.

    Attributes:
        loss_on: the responses, or everything that is shown but its first token, which nothing predicts.
    """

    loss_on: LossOn = "responses"

    def examples(
        self,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        section: DataSection,
        vocabulary: int | None = None,
    ) -> list[Example]:
        """Prompt and response as the template puts them, see `to_examples`."""
        return [self._learned(example) for example in to_examples(records, tokenizer, section, vocabulary)]

    def made_up(self, sequences: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Example:
        """The sequence as it is."""
        return self._learned(sequences[0])

    def losses(self, model: AdaptedModel, batch: Batch) -> Losses:
        """Of what is learned, see `response_losses`."""
        return Losses(*response_losses(model.model, batch))

    def hits(self, model: AdaptedModel, batch: Batch) -> Losses:
        """Of each example how many of its learned tokens the model finds likeliest, given all before them.

        Where that is all of them, greedy decoding answers the prompt with this response, its end included.

        Args:
            model: computes where the batch lies; left as it is.
            batch: from `batch`.
        """
        return Losses(sum_of_responses(model.model, batch, _hit), batch.token_count)

    def _learned(self, example: Example) -> Example:
        if self.loss_on == "responses" or example.unusable is not None or example.prompt_length < 2:
            return example
        return replace(example, earlier=((1, example.prompt_length),))


def _hit(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (logits.argmax(dim=1) == targets).float()
