"""Causal language modelling on the response: each of its tokens is predicted from the prompt and those before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.examples import to_examples
from sealora_client.data.record import Record
from sealora_client.model.loss import Batch, collate, response_losses
from sealora_client.objective.objective import Losses, Objective
from sealora_common.recipe.sections.data import DataSection


class CausalLanguageModelling(Objective):
    """The negative log-likelihood of responses, in nats; counts are response tokens."""

    def examples(
        self,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        section: DataSection,
        vocabulary: int | None = None,
    ) -> list[Example]:
        """Prompt and response as the template puts them, see `to_examples`."""
        return to_examples(records, tokenizer, section, vocabulary)

    def batch(
        self,
        examples: Sequence[Example],
        pad_id: int,
        device: torch.device | str,
        rows: int | None = None,
        length: int | None = None,
    ) -> Batch:
        """Left-padded, see `collate`."""
        return collate(examples, pad_id, device, rows, length)

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """Of the responses, see `response_losses`."""
        return Losses(*response_losses(model, batch))
