"""What training and evaluation ask of an objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.record import Record
from sealora_client.model.loss import Batch, collate
from sealora_common.recipe.sections.data import DataSection

if TYPE_CHECKING:
    from sealora_client.model.adapted import AdaptedModel


@dataclass(frozen=True)
class Losses:
    """Each example's loss, as a sum over what it predicts.

    Attributes:
        sums: float32 (B,), differentiable; 0 where nothing is predicted.
        counts: int64 (B,), the terms of each sum: tokens, or 1 for an example that is judged as a whole.
    """

    sums: torch.Tensor
    counts: torch.Tensor

    @property
    def means(self) -> torch.Tensor:
        """Float32 (B,): what is trained on. A unit of privacy has the mean of these over its examples."""
        return self.sums / self.counts.clamp(min=1)


class Objective(Protocol):
    """Turns records into examples, and examples into losses that belong to one example each.

    An example's loss and gradient may depend on no other row of the micro-batch, to the last bit: clipping bounds what
    a record does to a sum on that condition alone (see `model.loss`, and `gradients.batch_invariance`, which asks).
    """

    @property
    def width(self) -> int:
        """Rows of a micro-batch that an example takes: sequences of tokens that its loss compares, or 1."""
        return 1

    def examples(
        self,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        section: DataSection,
        vocabulary: int | None = None,
    ) -> list[Example]:
        """One example for each record, in order; a placeholder for each that cannot be shown to the model.

        Args:
            records: any number of them.
            tokenizer: the base model's.
            section: says how long examples may be, and what is put around them.
            vocabulary: tokens of this id and above are not the model's; None if it has all of the tokenizer's.
        """

    def made_up(self, sequences: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Example:
        """An example that belongs to no record, for whoever asks the model or plants canaries.

        Args:
            sequences: `width` of them, of random tokens, any number: a prompt and a response.
            tokenizer: the base model's.
        """

    def batch(
        self,
        examples: Sequence[Example],
        pad_id: int,
        device: torch.device | str,
        rows: int | None = None,
        length: int | None = None,
    ) -> Batch:
        """One micro-batch, `width` rows for each example and dummies after them, see `model.loss.collate`.

        Gradients by example need to know of it how many rows there are, whose they are and how long they are padded.

        Args:
            examples: at most `rows`.
            pad_id: the token id on padding.
            device: where the batch is to lie.
            rows: examples that there is room for; None for as many as there are.
            length: to which they are padded; None for what the longest asks for.
        """
        sequences = [sequence for example in examples for sequence in self.sequences(example)]
        return collate(sequences, pad_id, device, None if rows is None else self.width * rows, length)

    def sequences(self, example: Example) -> tuple[Example, ...]:
        """What stands in the rows of an example: `width` of them."""
        return (example,)

    def owners(self, owners: Sequence[int]) -> list[int]:
        """Whose each row of a micro-batch is, where `owners` says it of each example."""
        return [owner for owner in owners for _ in range(self.width)]

    def losses(self, model: AdaptedModel, batch: Batch) -> Losses:
        """The loss of each example of `batch`, and 0 for each place without one, under the adapter in `model`.

        Args:
            model: computes where the batch lies; left as it is.
            batch: from `batch`.
        """
