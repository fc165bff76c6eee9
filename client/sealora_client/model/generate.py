"""Completions, to look at what a model has learned, and to use it: greedy, or drawn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig

from sealora_client.data.templates.choice import template_of
from sealora_client.model.adapted import AdaptedModel
from sealora_common.recipe.sections.data import DataSection


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        temperature: above 0; 1 draws from the model's own distribution, less keeps to what is likely.
        seed: equal seeds, equal answers.
    """

    temperature: float
    seed: int


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
    if not prompts:
        return []
    whole = template_of(model.tokenizer, section).prompts(prompts)
    conversations = [_without_middle(own, section.max_tokens) for own in whole]
    length = max(map(len, conversations))
    tokens = torch.tensor([[model.pad_id] * (length - len(own)) + own for own in conversations])
    attention_mask = torch.tensor([[0] * (length - len(own)) + [1] * len(own) for own in conversations])
    drawn: dict[str, bool | float] = {"do_sample": False}
    if sampling is not None:
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0}
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
            output = model.model.generate(
                input_ids=tokens.to(model.device),
                attention_mask=attention_mask.to(model.device),
                generation_config=GenerationConfig(
                    **drawn,
                    max_new_tokens=min(max_new_tokens, _room(model, length)),
                    pad_token_id=model.pad_id,
                    eos_token_id=model.end_ids or None,
                ),
            )
    finally:
        model.model.train(was_training)
    return [text.strip() for text in model.tokenizer.batch_decode(output[:, length:], skip_special_tokens=True)]


def _without_middle(tokens: list[int], most: int) -> list[int]:
    return tokens if len(tokens) <= most else tokens[: most - most // 2] + tokens[len(tokens) - most // 2 :]


def _room(model: AdaptedModel, length: int) -> int:
    """How many tokens may follow so many: the last of them is read no more, so it needs no position."""
    config = model.model.get_base_model().config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return sys.maxsize
    virtual: int = getattr(model.model.active_peft_config, "num_virtual_tokens", None) or 0
    return max(1, int(positions) - virtual - length + 1)
