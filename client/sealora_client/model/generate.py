"""Completions, to look at what a model has learned, and to use it: greedy, or drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from sealora_client.data.templates.choice import template_of
from sealora_client.model.adapted import AdaptedModel
from sealora_common.recipe.sections.data import DataSection


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        temperature: above 0; 1 draws from the model's own distribution, less keeps to what is likely.
        seed: equal seeds, equal answers.
        top_p: above 0; below 1 only the likeliest tokens are drawn from, as many as have that much of all probability.
    """

    temperature: float
    seed: int
    top_p: float = 1.0


@dataclass(frozen=True)
class Continuation:
    """What a model went on with.

    Attributes:
        text: without special tokens, and without white space at its ends.
        tokens: how many were generated, the mark that ends a turn among them.
        is_cut: whether it could not come to an end by itself.
    """

    text: str
    tokens: int
    is_cut: bool


Hear = Callable[[str], bool]
"""Told the whole text so far after each token; what it returns says whether to go on."""


def complete(
    model: AdaptedModel,
    prompts: Sequence[str],
    section: DataSection,
    max_new_tokens: int = 48,
    sampling: Sampling | None = None,
) -> list[str]:
    """What the model with its live adapter answers to each prompt, in order.

    Prompts go through the same chat template as in training. Decoding is greedy unless it is
    drawn, stops at the end of the turn or
    after `max_new_tokens` tokens, or where the model has no more positions, and leaves the model in the mode (train or
    eval) it was in. A prompt of more than `section.max_tokens` tokens loses its middle.
    """
    whole = template_of(model.tokenizer, section).prompts(prompts) if prompts else []
    return complete_tokens(model, [_without_middle(own, section.max_tokens) for own in whole], max_new_tokens, sampling)


def complete_tokens(
    model: AdaptedModel,
    conversations: Sequence[list[int]],
    max_new_tokens: int = 48,
    sampling: Sampling | None = None,
) -> list[str]:
    """What the model with its live adapter puts after each text of tokens, in order; decoded as `complete` does."""
    if not conversations:
        return []
    output = _generated(model, conversations, max_new_tokens, sampling, StoppingCriteriaList())
    return [text.strip() for text in model.tokenizer.batch_decode(output, skip_special_tokens=True)]


def go_on(
    model: AdaptedModel, tokens: Sequence[int], max_new_tokens: int, sampling: Sampling | None, hear: Hear
) -> Continuation:
    """What the model goes on with after `tokens`, told while it comes; else as for `complete`."""
    listening = _Listening(model, len(tokens), hear)
    output = _generated(model, [list(tokens)], max_new_tokens, sampling, StoppingCriteriaList([listening]))
    made: list[int] = output[0].tolist()
    is_cut = not listening.has_stopped and (not made or made[-1] not in model.end_ids)
    return Continuation(_text(model, output[0]).strip(), len(made), is_cut)


class _Listening(StoppingCriteria):  # type: ignore[misc] # transformers is untyped here
    """Ends generation when whoever listens has heard enough."""

    def __init__(self, model: AdaptedModel, length: int, hear: Hear) -> None:
        self._model = model
        self._length = length
        self._hear = hear
        self.has_stopped = False

    def __call__(self, input_ids: torch.Tensor, scores: object, **options: Any) -> torch.Tensor:
        """Asked after each token; ids are of shape (1, tokens so far)."""
        self.has_stopped = self.has_stopped or not self._hear(_text(self._model, input_ids[0, self._length :]))
        return torch.full((len(input_ids),), self.has_stopped, dtype=torch.bool, device=input_ids.device)


def _text(model: AdaptedModel, tokens: torch.Tensor) -> str:
    text: str = model.tokenizer.decode(tokens, skip_special_tokens=True)
    return text


def _generated(
    model: AdaptedModel,
    conversations: Sequence[list[int]],
    max_new_tokens: int,
    sampling: Sampling | None,
    criteria: StoppingCriteriaList,
) -> torch.Tensor:
    """The new tokens' ids of each, of shape (conversations, tokens)."""
    length = max(map(len, conversations))
    tokens = torch.tensor([[model.pad_id] * (length - len(own)) + own for own in conversations])
    attention_mask = torch.tensor([[0] * (length - len(own)) + [1] * len(own) for own in conversations])
    drawn: dict[str, bool | float] = {"do_sample": False}
    if sampling is not None:
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": sampling.top_p}
    was_training = model.model.training
    model.model.eval()
    try:
        # The process's own generator is somebody else's, who may be at work in a notebook.
        with (
            torch.no_grad(),
            torch.random.fork_rng([] if model.device.type == "cpu" else [model.device], enabled=sampling is not None),
        ):
            if sampling is not None:
                torch.manual_seed(sampling.seed)
            output: torch.Tensor = model.model.generate(
                input_ids=tokens.to(model.device),
                attention_mask=attention_mask.to(model.device),
                generation_config=GenerationConfig(
                    **drawn,
                    max_new_tokens=min(max_new_tokens, room_after(model, length)),
                    pad_token_id=model.pad_id,
                    eos_token_id=model.end_ids or None,
                ),
                stopping_criteria=criteria,
            )
    finally:
        model.model.train(was_training)
    return output[:, length:]


def _without_middle(tokens: list[int], most: int) -> list[int]:
    return tokens if len(tokens) <= most else tokens[: most - most // 2] + tokens[len(tokens) - most // 2 :]


def room_after(model: AdaptedModel, length: int) -> int:
    """How many tokens may follow `length` of them: the last is read no more, so it needs no position."""
    config = model.model.get_base_model().config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return sys.maxsize
    virtual: int = getattr(model.model.active_peft_config, "num_virtual_tokens", None) or 0
    return max(1, int(positions) - virtual - length + 1)
