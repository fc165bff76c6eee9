"""The one forward pass of Sealora: training and evaluation both take their losses from here.

A loss belongs to an example, never to a batch. The mean over a batch's tokens (what `model(labels=...)` returns)
lets the length of one example scale the gradient of another, which would break per-example clipping.

Examples are padded on the LEFT: all responses end at the last position, so the output layer, the widest of the
model, runs for the last few positions only.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sealora_client.data.example import Example

_IGNORED = -100
_ROWS_AT_ONCE = 256
"""Positions whose float32 log-probabilities are in memory at once (50 MB at a vocabulary of 49k)."""


@dataclass(frozen=True)
class Batch:
    """B examples, left-padded to the length T of the longest; R is the length of the longest response.

    Attributes:
        tokens: int64 (B, T).
        attention_mask: int64 (B, T), 0 on padding.
        position_ids: int64 (B, T), counted from each example's own first token; 0 on padding.
        targets: int64 (B, R), the response tokens, -100 elsewhere. Target j is predicted at position T - 1 - R + j.
    """

    tokens: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    targets: torch.Tensor


def collate(examples: Sequence[Example], pad_id: int, device: torch.device | str) -> Batch:
    """Makes one batch of at least one example."""
    count = len(examples)
    length = max(len(example.tokens) for example in examples)
    longest_response = max(example.response_length for example in examples)
    tokens = torch.full((count, length), pad_id, dtype=torch.int64)
    attention_mask = torch.zeros((count, length), dtype=torch.int64)
    targets = torch.full((count, longest_response), _IGNORED, dtype=torch.int64)
    for row, example in enumerate(examples):
        own = torch.from_numpy(example.tokens.astype("int64"))
        tokens[row, length - len(own) :] = own
        attention_mask[row, length - len(own) :] = 1
        targets[row, longest_response - example.response_length :] = own[example.prompt_length :]
    position_ids = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    return Batch(*(part.to(device) for part in (tokens, attention_mask, position_ids, targets)))


def response_losses(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Each example's negative log-likelihood of its response, in nats.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
        batch: B examples from `collate`, on the model's device.

    Returns:
        nll_sum: float32 (B,), summed over the example's response tokens, differentiable.
        token_count: int64 (B,), the number of those tokens.
    """
    wanted = batch.targets != _IGNORED
    rows = _response_logits(model, batch, wanted)
    targets = batch.targets[wanted]
    pieces = zip(torch.split(rows, _ROWS_AT_ONCE), torch.split(targets, _ROWS_AT_ONCE), strict=True)
    nll = torch.cat([_nll(*piece) for piece in pieces])
    owner = wanted.nonzero()[:, 0]
    nll_sum = torch.zeros(len(wanted), dtype=torch.float32, device=nll.device).index_add(0, owner, nll)
    return nll_sum, wanted.sum(dim=1)


def _response_logits(model: Any, batch: Batch, wanted: torch.Tensor) -> torch.Tensor:
    """Logits (rows, vocabulary) that predict the `wanted` targets, in row-major order.

    The output layer is by far the widest of a small model, so it is given only the hidden states that predict a
    response token: a hook picks them out on their way in. Besides the work saved, torch multiplies the picked,
    contiguous rows in one product where it would expand the whole layer for each example of a strided slice.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    accepted = inspect.signature(base.forward).parameters
    options = {"position_ids": batch.position_ids} if "position_ids" in accepted else {}
    responses = wanted.shape[1]
    picked = False

    def pick(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        nonlocal picked
        picked = True
        # The state one place before a token predicts it, so the last state predicts nothing that is wanted.
        return (inputs[0][:, -responses - 1 : -1][wanted].unsqueeze(0), *inputs[1:])

    head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    with nullcontext() if head is None else head.register_forward_pre_hook(pick):
        output = model(input_ids=batch.tokens, attention_mask=batch.attention_mask, use_cache=False, **options)
    logits: torch.Tensor = output.logits
    return logits[0] if picked else logits[:, -responses - 1 : -1][wanted]


def _nll(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Float32 (rows,): the log-probabilities are made again in the backward pass rather than kept until then."""
    if not logits.requires_grad:
        return _cross_entropy(logits, targets)
    nll: torch.Tensor = checkpoint(_cross_entropy, logits, targets, use_reentrant=False, preserve_rng_state=False)
    return nll


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.float(), targets, reduction="none")
