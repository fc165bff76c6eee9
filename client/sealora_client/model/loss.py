"""The one forward pass of Sealora: training and evaluation both take their losses from here.

A loss belongs to an example, never to a batch. The mean over a batch's tokens (what `model(labels=...)` returns)
lets the length of one example scale the gradient of another, which would break per-example clipping.

An example's loss and gradient are the same to the last bit whatever the other rows of the micro-batch hold: shapes are
fixed (see `fixed_shape`), and the output layer, the widest of the model, which need only run for the states that
predict a learned token, is given `POSITIONS` of them at a time, the last ones filled up with zeros. Dropout is the one
exception: its masks are drawn for the whole micro-batch. They are independent of each other and of the records, so a
row's distribution does not depend on the others, and the sensitivity holds for every fixed outcome of the masks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

from sealora_client.data.example import Example
from sealora_client.model.device import to_device
from sealora_client.model.fixed_shape import padded_length

_IGNORED = -100
POSITIONS = 64
"""Positions the output layer is given at a time; their float32 log-probabilities are in memory at once (12 MB at a
vocabulary of 49k)."""


_padded: ContextVar[bool] = ContextVar("padded", default=False)


@dataclass(frozen=True)
class Batch:
    """B rows, left-padded to a common length T. Rows past the examples are dummies, which predict nothing.

    Attributes:
        tokens: int64 (B, T).
        attention_mask: int64 (B, T), 0 on padding.
        position_ids: int64 (B, T), counted from each example's own first token; 0 on padding.
        predicting: int64 (H,): the places, in the (B * T) flattened states, of those that predict a learned token.
        targets: int64, those tokens and then -100, a multiple of `POSITIONS` of them and at least one.
        token_count: int64 (B,), the learned tokens of each row.
    """

    tokens: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    predicting: torch.Tensor
    targets: torch.Tensor
    token_count: torch.Tensor

    @property
    def rows(self) -> int:
        """B, dummies included."""
        return self.tokens.shape[0]

    @property
    def length(self) -> int:
        """T."""
        return self.tokens.shape[1]


def collate(
    examples: Sequence[Example],
    pad_id: int,
    device: torch.device | str,
    rows: int | None = None,
    length: int | None = None,
) -> Batch:
    """Makes one batch.

    A token is predicted from those before it, so of a response without a prompt the first is not. An example without
    tokens becomes a row like a dummy: a single token and nothing to predict.

    Args:
        examples: at most `rows`; for fixed shapes, all of one padded length.
        pad_id: the token id on padding.
        device: where the batch is to lie.
        rows: B; None for as many as there are examples.
        length: T; None for what `padded_length` says of the longest.
    """
    count = max(1, len(examples)) if rows is None else rows
    if length is None:
        length = padded_length(max((len(example.tokens) for example in examples), default=0))
    tokens = torch.full((count, length), pad_id, dtype=torch.int64)
    attention_mask = torch.zeros((count, length), dtype=torch.int64)
    attention_mask[:, -1] = 1  # attention over nothing at all has no meaning, not even in a dummy
    wanted = torch.zeros((count, length), dtype=torch.bool)
    for row, example in enumerate(examples):
        own = torch.from_numpy(example.tokens.astype("int64"))
        start = length - len(own)
        tokens[row, start:] = own
        attention_mask[row, start:] = 1
        wanted[row, start:] = torch.from_numpy(example.learned)
    position_ids = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    found = wanted.flatten().nonzero()[:, 0]
    targets = torch.full((_whole_blocks(len(found)),), _IGNORED, dtype=torch.int64)
    targets[: len(found)] = tokens.flatten()[found]
    # The state one place before a token predicts it. It is the row's own, as every row begins with padding.
    parts = (tokens, attention_mask, position_ids, found - 1, targets, wanted.sum(dim=1))
    return Batch(*(to_device(part, device) for part in parts))


def response_losses(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row's negative log-likelihood of its response, in nats.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
        batch: B rows from `collate`, on the model's device.

    Returns:
        nll_sum: float32 (B,), summed over the row's response tokens, differentiable; 0 where there are none.
        token_count: int64 (B,), the number of those tokens.
    """
    return sum_of_responses(model, batch, _nll), batch.token_count


def sum_of_responses(
    model: Any, batch: Batch, value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Each row's sum of a value that each token of its response has: float32 (B,), 0 where there are none.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
        batch: B rows from `collate`, on the model's device.
        value: float32 (n,) of logits (n, vocabulary) and the tokens (n,) that they should predict, each of its own row
            alone; what it makes of a row whose token is ignored is dropped or 0.
    """
    logits = _response_logits(model, batch)
    pieces = zip(torch.split(logits, POSITIONS), torch.split(batch.targets, POSITIONS), strict=True)
    values = torch.cat([value(*piece) for piece in pieces])[: len(batch.predicting)]
    # Back to where they were predicted: a row then sums as many numbers whatever the others predict.
    by_place = torch.zeros(batch.tokens.numel(), dtype=torch.float32, device=values.device)
    by_place = by_place.index_copy(0, batch.predicting, values)
    return by_place.view(batch.tokens.shape).sum(dim=1)


def _response_logits(model: Any, batch: Batch) -> torch.Tensor:
    """Logits (len(targets), vocabulary) of the predicting states, and of zeros where there is nothing to predict."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    accepted = inspect.signature(base.forward).parameters
    options = {"position_ids": batch.position_ids} if "position_ids" in accepted else {}
    head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    with _picking(head, batch) as was_used, _always_masked():
        output = model(input_ids=batch.tokens, attention_mask=batch.attention_mask, use_cache=False, **options)
    logits: torch.Tensor = output.logits
    return logits[0] if was_used else _pick(logits, batch)


def _pick(states: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The predicting ones of `states` (B, T, features), as many as there are targets.

    States of what an adapter puts before all rows, virtual tokens, are no part of them.

    The filling is of zeros that belong to nobody: taken from a row, it could carry a gradient that is not a number
    back into it.
    """
    picked = states[:, -batch.length :].flatten(0, 1).index_select(0, batch.predicting)
    return functional.pad(picked, (0, 0, 0, len(batch.targets) - len(picked)))


@contextmanager
def _picking(head: torch.nn.Module | None, batch: Batch) -> Iterator[list[bool]]:
    """Within it the output layer computes the wanted positions only; what is yielded is empty until it was used.

    The model's own forward pass may still scale or cap its output, which treats every position by itself.
    """
    used: list[bool] = []
    if head is None:
        yield used
        return
    replaced = head.__dict__.get("forward")
    forward = head.forward

    def picked(states: torch.Tensor, *more: Any, **options: Any) -> torch.Tensor:
        used.append(True)
        blocks = torch.split(_pick(states, batch), POSITIONS)
        return torch.cat([forward(block[None], *more, **options) for block in blocks], dim=1)

    head.__dict__["forward"] = picked
    try:
        yield used
    finally:
        if replaced is None:
            del head.__dict__["forward"]
        else:
            head.__dict__["forward"] = replaced


@contextmanager
def _always_masked() -> Iterator[None]:
    """Within it transformers does not ask whether anything is masked at all.

    Something always is (see `fixed_shape`), and to read the answer would be to wait for the device in each micro-batch.
    """
    before = _padded.set(True)
    try:
        yield
    finally:
        _padded.reset(before)


def _sdpa_mask(*given: Any, **options: Any) -> Any:
    return sdpa_mask(*given, **(options | {"allow_is_causal_skip": False} if _padded.get() else options))


_masks: Any = ALL_MASK_ATTENTION_FUNCTIONS
_masks["sdpa"] = _sdpa_mask


def _whole_blocks(positions: int) -> int:
    return max(1, -(-positions // POSITIONS)) * POSITIONS


def _nll(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Float32 (rows,): the log-probabilities are made again in the backward pass rather than kept until then."""
    if not logits.requires_grad:
        return _cross_entropy(logits, targets)
    nll: torch.Tensor = checkpoint(_cross_entropy, logits, targets, use_reentrant=False, preserve_rng_state=False)
    return nll


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.float(), targets, reduction="none", ignore_index=_IGNORED)
