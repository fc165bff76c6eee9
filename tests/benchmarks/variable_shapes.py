"""The clipped sum as it was before shapes were fixed, kept to compare with.

A sample is sorted by length and cut into micro-batches, each as tall as what is left and as long as its longest
example; the output layer is given exactly the positions that predict a response token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.training.gradients.per_example import PerExampleGradients

_ROWS_AT_ONCE = 256


def add_clipped(
    model: AdaptedModel,
    gradients: PerExampleGradients,
    examples: Sequence[Example],
    total: torch.Tensor,
    *,
    clip_norm: float,
    grid_steps: int,
) -> None:
    """Adds the examples' clipped gradients to `total`; each is a unit. `gradients` is entered."""
    longest_first = sorted(examples, key=lambda example: -len(example.tokens))
    for start in range(0, len(longest_first), gradients.max_rows):
        batch = longest_first[start : start + gradients.max_rows]
        gradients.start(len(batch))
        gradients.begin(range(len(batch)), len(batch[0].tokens))
        _losses(model, batch).sum().backward()  # type: ignore[no-untyped-call]
        gradients.truncated_sum_(total, clip_norm, grid_steps)


def _losses(model: AdaptedModel, examples: Sequence[Example]) -> torch.Tensor:
    """Mean losses a response token, float32 (examples,)."""
    count, length = len(examples), max(len(example.tokens) for example in examples)
    responses = max(example.response_length for example in examples)
    tokens = torch.full((count, length), model.pad_id, dtype=torch.int64)
    mask = torch.zeros((count, length), dtype=torch.int64)
    targets = torch.full((count, responses), -100, dtype=torch.int64)
    for row, example in enumerate(examples):
        own = torch.from_numpy(example.tokens.astype("int64"))
        tokens[row, length - len(own) :] = own
        mask[row, length - len(own) :] = 1
        targets[row, responses - example.response_length :] = own[example.prompt_length :]
    wanted = targets != -100

    def pick(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0][:, -responses - 1 : -1][wanted].unsqueeze(0), *inputs[1:])

    with model.model.get_output_embeddings().register_forward_pre_hook(pick):
        position_ids = (mask.cumsum(dim=1) - 1).clamp(min=0)
        logits = model.model(input_ids=tokens, attention_mask=mask, position_ids=position_ids, use_cache=False).logits[
            0
        ]
    pieces = zip(logits.split(_ROWS_AT_ONCE), targets[wanted].split(_ROWS_AT_ONCE), strict=True)
    nll = torch.cat([checkpoint(_nll, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces])
    sums = torch.zeros(count).index_add(0, wanted.nonzero()[:, 0], nll)
    return sums / wanted.sum(dim=1)


def _nll(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.float(), targets, reduction="none")
