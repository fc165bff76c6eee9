"""Greedy decoding in fixed shapes: what follows a prompt is the same to the last bit whatever the other prompts are.

The rule is that of `fixed_shape`: so many rows, padded to a length that follows from each record alone, and as many
steps as a row takes to its end. Whether a kernel keeps rows apart while it decodes, one token at a time from a cache,
is asked of the loaded model (`training.gradients.decoding_invariance`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig

from sealora_client.model.adapted import AdaptedModel


def greedy_tokens(
    model: AdaptedModel,
    prompts: Sequence[Sequence[int]],
    most: int,
    rows: int,
    length: int,
    *,
    to_its_end: bool = True,
    in_all_steps: bool = False,
    pad_id: int | None = None,
) -> tuple[list[list[int]], torch.Tensor]:
    """The likeliest token after each prompt, and after that, to the first that ends a turn.

    Nothing of the base model's own generation settings is heeded but what ends a turn: a penalty on repetition, say,
    would make it no greedy decoding.

    Args:
        model: in `eval()` mode; left as it was.
        prompts: 1 to `rows` of them, each of 1 to `length` tokens.
        most: tokens after a prompt, 1 or more. Never fewer than that for want of positions: how many are left would be
            for the longest prompt to say.
        rows: of the micro-batch. Rows without a prompt take the first once more, so that they end when it does.
        length: that all are padded to.
        to_its_end: whether a token that ends a turn ends an answer.
        in_all_steps: whether all `most` steps are made whatever answers say, so that the time tells nothing of them.
        pad_id: the token on padding; None for the model's own.

    Returns:
        tokens: after each prompt, with the one that ends it if it came to that.
        scores: float32 (prompts, steps, vocabulary) on the CPU, before each of them; no step unless `to_its_end` is
            False.
    """
    filler = model.pad_id if pad_id is None else pad_id
    asked = [*prompts, *[prompts[0]] * (rows - len(prompts))]
    tokens = torch.tensor([[filler] * (length - len(own)) + list(own) for own in asked])
    attention_mask = torch.tensor([[0] * (length - len(own)) + [1] * len(own) for own in asked])
    ends = model.end_ids if to_its_end else []
    stops = [] if in_all_steps else ends
    with torch.no_grad(), _without_own_settings(model):
        found = model.model.generate(
            input_ids=tokens.to(model.device),
            attention_mask=attention_mask.to(model.device),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=most,
                pad_token_id=model.pad_id,
                eos_token_id=stops or None,
                return_dict_in_generate=True,
                output_logits=not to_its_end,
            ),
        )
    written = found.sequences[: len(prompts), length:].tolist()
    scores = torch.stack(found.logits, dim=1)[: len(prompts)].float().cpu() if found.logits else torch.zeros(0)
    return [_to_end(own, ends) for own in written], scores


def _to_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    last = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: last + 1]


@contextmanager
def _without_own_settings(model: AdaptedModel) -> Iterator[None]:
    base = model.model.get_base_model()
    before = base.generation_config
    base.generation_config = GenerationConfig()
    try:
        yield
    finally:
        base.generation_config = before
