"""Asks the loaded model whether rows keep apart while it writes answers, one token at a time from a cache.

As `batch_invariance` asks of training and of losses: made-up prompts alone, among others, and at other rows over
another padding token must get the same scores to the last bit, or a record's answer would depend on who else is held
out. The longest are as long as a prompt is with its answer, for some models choose their positions' encoding by the
longest row.
"""

from __future__ import annotations

import numpy as np
import torch

from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import padded_length
from sealora_client.model.greedy import greedy_tokens
from sealora_common.errors import ModelError

_STEPS = 3


def require_decoding_apart(model: AdaptedModel, rows: int, longest: int) -> None:
    """Refuses a model whose rows depend on each other while it decodes. No records are needed.

    Args:
        model: holds some adapter, in `eval()` mode.
        rows: of a micro-batch.
        longest: tokens of the longest prompt and what is written after it.

    Raises:
        ModelError: they do.
        torch.OutOfMemoryError: it does not fit.
    """
    generator = np.random.default_rng(0)
    vocabulary = int(model.model.get_input_embeddings().num_embeddings)
    first = max(1, longest - _STEPS)
    sizes, length = [first, *generator.integers(1, first + 1, rows - 1).tolist()], padded_length(first)
    prompts = [generator.integers(0, vocabulary, size).tolist() for size in sizes]

    def scores(asked: list[list[int]], pad_id: int | None = None) -> torch.Tensor:
        return greedy_tokens(model, asked, _STEPS, rows, length, to_its_end=False, pad_id=pad_id)[1]

    full, alone, moved = scores(prompts), scores(prompts[:1]), scores(prompts[::-1], 1 if model.pad_id == 0 else 0)
    if not (_same(alone, full[:1]) and _same(moved.flip(0), full)):
        raise ModelError(
            f"the model's kernels on {model.device.type} write an answer by its place in the batch or by what else is "
            "asked, so no record's influence on evaluation.metric is bounded exactly: choose another model.attention "
            "(eager or sdpa) or model.compute_dtype: float32, or the metric exact_match, which writes no answers"
        )


def _same(mine: torch.Tensor, theirs: torch.Tensor) -> bool:
    return bool(((mine == theirs) | (mine.isnan() & theirs.isnan())).all())
