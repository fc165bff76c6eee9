"""Asks the loaded model how many rows it may write answers in at once, so that each is its own to the last bit.

As `batch_invariance` asks of training and of losses: made-up prompts alone, among others, and at other rows over
another padding token must get the same scores. Decoding goes one token at a time from a cache, in products of so few
rows that some kernels round a row by its place, even in float32. Then answers are written one by one, which takes
longer and needs nothing of the kernel.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import SHORTEST, padded_length
from sealora_client.model.greedy import greedy_tokens
from sealora_client.training.gradients.made_up import undisturbed
from sealora_common.adapter import adapter_kind
from sealora_common.recipe import Recipe

_STEPS = 3

_found: WeakKeyDictionary[AdaptedModel, dict[tuple[int, ...], int]] = WeakKeyDictionary()


def decoding_rows(model: AdaptedModel, recipe: Recipe, most: int) -> int:
    """Rows of a micro-batch of answers: `training.micro_batch_size`, or 1. No records are needed.

    It is asked once a process for the same settings, under a made-up adapter: with one of zeros nothing would show. The
    longest made-up prompts are as long as a prompt is with its answer, for some models choose their positions' encoding
    by the longest row.

    Args:
        model: the loaded model, on the device that it computes on; left as it was.
        recipe: its kind of adapter, `data.max_tokens` and `training.micro_batch_size` are read.
        most: tokens of an answer.

    Raises:
        torch.OutOfMemoryError: it does not fit.
    """
    rows, longest = recipe.training.micro_batch_size, recipe.data.max_tokens + most
    asked = (rows, longest, torch.get_num_threads())
    found = _found.setdefault(model, {})
    if asked not in found:
        with model.lock, undisturbed(model, adapter_kind(recipe).initial(model.layout)):
            are_apart = all(_are_apart(model, rows, length) for length in (longest, SHORTEST - 1))
        found[asked] = rows if are_apart else 1
    return found[asked]


def _are_apart(model: AdaptedModel, rows: int, longest: int) -> bool:
    generator = np.random.default_rng(0)
    vocabulary = int(model.model.get_input_embeddings().num_embeddings)
    first = max(1, longest - _STEPS)
    sizes, length = [first, *generator.integers(1, first + 1, rows - 1).tolist()], padded_length(first)
    prompts = [generator.integers(0, vocabulary, size).tolist() for size in sizes]

    def scores(asked: list[list[int]], pad_id: int | None = None) -> torch.Tensor:
        return greedy_tokens(model, asked, _STEPS, rows, length, to_its_end=False, pad_id=pad_id)[1]

    full, alone, moved = scores(prompts), scores(prompts[:1]), scores(prompts[::-1], 1 if model.pad_id == 0 else 0)
    return _same(alone, full[:1]) and _same(moved.flip(0), full)


def _same(mine: torch.Tensor, theirs: torch.Tensor) -> bool:
    return bool(((mine == theirs) | (mine.isnan() & theirs.isnan())).all())
