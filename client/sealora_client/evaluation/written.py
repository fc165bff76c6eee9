"""Answers that the model writes to what examples ask: greedily, and each the same whatever else is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import padded_length
from sealora_client.model.greedy import greedy_tokens
from sealora_client.training.gradients.decoding_invariance import decoding_rows
from sealora_common.recipe import Recipe


@dataclass(frozen=True)
class WrittenAnswer:
    """What the model wrote.

    Attributes:
        tokens: with the one that ends it, if it came to that.
        text: without white space at the ends.
        is_cut: whether it was not at its end.
    """

    tokens: tuple[int, ...]
    text: str
    is_cut: bool


def written_answers(
    model: AdaptedModel, recipe: Recipe, examples: Sequence[Example], most: int, *, in_all_steps: bool = False
) -> list[WrittenAnswer]:
    """The answer to each example's prompt, its response unseen.

    Args:
        model: in `eval()` mode, with the adapter whose answers they are.
        recipe: its shapes and its kind of adapter are read.
        examples: 1 or more, of one padded length, which is what their prompts are padded to.
        most: tokens of an answer.
        in_all_steps: whether as many steps are made whatever the answers say; the answers are the same.
    """
    prompts = [example.tokens[: example.prompt_length].tolist() for example in examples]
    length = padded_length(max(example.length for example in examples))
    rows, ends = decoding_rows(model, recipe, most), set(model.end_ids)
    written: list[list[int]] = []
    for start in range(0, len(prompts), rows):
        asked = prompts[start : start + rows]
        written += greedy_tokens(model, asked, most, rows, length, in_all_steps=in_all_steps)[0]
    return [WrittenAnswer(tuple(own), _text(model.tokenizer, own), is_cut=own[-1] not in ends) for own in written]


def right_answer(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    """The response that an example should have, as a text like an answer's."""
    return _text(tokenizer, example.tokens[example.prompt_length :].tolist())


def _text(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    try:
        return str(tokenizer.decode(torch.tensor(tokens, dtype=torch.int64), skip_special_tokens=True)).strip()
    except Exception:  # a tokenizer may have no text for what a model with a wider output says
        return ""
