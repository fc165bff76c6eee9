"""Pairs of responses to one prompt: how they are shown, what their rows are, and a loss for each pair by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.data.examples import to_examples
from sealora_client.data.record import Record
from sealora_client.model.loss import Batch
from sealora_client.objective.objective import Losses, Objective
from sealora_common.recipe.sections.data import DataSection


class PairObjective(Objective):
    """The base of objectives that compare the chosen response of a record with its rejected one.

    The two stand in rows that follow each other and belong to one example, so that they are padded alike, clipped
    together and drawn together. Both are given the same tokens before them: where one response needs more room of
    `data.max_tokens` than the other, the prompt is cut for both as it is for that one.
    """

    @property
    def width(self) -> int:
        """The chosen response and the rejected one."""
        return 2

    def examples(
        self,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        section: DataSection,
        vocabulary: int | None = None,
    ) -> list[Example]:
        """The chosen response with the rejected one beside it; a placeholder if either cannot be shown."""
        rejected = [replace(record, response=record.rejected or "") for record in records]
        shown = (to_examples(each, tokenizer, section, vocabulary) for each in (records, rejected))
        return [_pair(*both) for both in zip(*shown, strict=True)]

    def made_up(self, sequences: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Example:
        """The first sequence as the chosen one, the second as the rejected."""
        return replace(sequences[0], rejected=sequences[1])

    def sequences(self, example: Example) -> tuple[Example, ...]:
        """The chosen and the rejected one; a placeholder stands for both of its own."""
        return example, example.rejected or example


def by_pair(value: Callable[..., torch.Tensor], *rows: torch.Tensor) -> torch.Tensor:
    """Float32 (B,): `value` of each pair's own numbers, float64 scalars, the chosen's before the rejected's.

    Pair by pair: kernels compute several elements at once, and the last ones of a row of them by another formula (the
    sigmoid's on a CPU rounds otherwise), so that a pair's loss would depend on its place.

    Args:
        value: of `2 * len(rows)` numbers.
        rows: each float32 (2 B,), of the rows of a micro-batch.
    """
    pairs = torch.stack(rows, dim=1).double().view(-1, 2, len(rows))
    return torch.stack([value(*pair.T.flatten().unbind()) for pair in pairs]).float()


def judged_whole(losses: torch.Tensor, batch: Batch) -> Losses:
    """Of pairs: (B,) `losses`, of which those count that have two responses to compare."""
    counts = (batch.token_count.view(-1, 2).min(dim=1).values > 0).long()
    return Losses(torch.where(counts > 0, losses, 0.0), counts)


def _pair(chosen: Example, rejected: Example) -> Example:
    for example in (chosen, rejected):
        if example.unusable is not None:
            return Example.placeholder(example.unusable)
    prompt = min(chosen, rejected, key=lambda example: example.prompt_length)
    given = prompt.tokens[: prompt.prompt_length]
    cut = chosen.truncated or rejected.truncated
    mine, theirs = (
        Example(
            np.concatenate([given, example.tokens[example.prompt_length :]]),
            prompt_length=len(given),
            truncated=cut,
        )
        for example in (chosen, rejected)
    )
    return replace(mine, rejected=theirs)
