"""Whether a base model predicts each token from those before it alone, as all that is trained here takes for granted.

An encoder (BERT) reads a text from both sides, and an encoder-decoder (T5) has a second way in: loaded as causal
language models they would learn to copy the answers that they are shown, with a loss that falls and nothing learned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from sealora_common.config import LINE, json_value, read_file
from sealora_common.errors import ModelError, UnreadableError

_TOKENS = 8
_CHANGED = 3
_MOST = 1e-2
"""Most that a place before the changed token may change, in parts of how much its own does: what is left to rounding,
where experts are given other numbers of tokens."""
_MOST_GRADIENT = 1e-5
"""Most of a prediction's gradient that a later token may have, in parts of the largest: attention that is masked has
none at all. An encoder that attends to little yet, as before it was trained, has more than this and changes by less
than `_MOST`."""
_REMEDY = "use a causal (decoder-only) language model, which learns classes as words (objective.kind: classification)"


def check_architecture(directory: Path) -> None:
    """Refuses an encoder-decoder by its configuration, as one half of it may load as if it were the whole.

    Raises:
        ModelError: it is one.
    """
    try:
        configuration: Any = json_value(read_file(directory / "config.json", LINE.longest), nan_is_null=True)
    except (OSError, UnreadableError):
        return  # whoever loads it says that it is damaged
    if isinstance(configuration, dict) and configuration.get("is_encoder_decoder") is True:
        raise ModelError(f"the base model in {directory} is an encoder with a decoder, as T5 is: {_REMEDY}")


def check_causality(model: PreTrainedModel, directory: Path) -> None:
    """Refuses a model that looks ahead: one whose predictions change with a token that comes after them.

    Args:
        model: in evaluation mode.
        directory: its own, for the sentence.

    Raises:
        ModelError: it does.
    """
    embedding = model.get_input_embeddings()
    count = int(getattr(embedding, "num_embeddings", 0))
    if count < _TOKENS + _CHANGED:
        return
    tokens = torch.linspace(0, count - 1 - _CHANGED, _TOKENS, device=model.device).long().repeat(1 + _CHANGED, 1)
    tokens[1:, -1] += torch.arange(1, 1 + _CHANGED, device=model.device)
    with torch.no_grad():
        logits = model(input_ids=tokens, use_cache=False).logits.float()
    change = (logits[1:] - logits[:1]).norm(dim=-1)
    if bool((change[:, :-1] > _MOST * change[:, -1:]).any()) or _gradient_ahead(model, tokens[:1]) > _MOST_GRADIENT:
        raise ModelError(
            f"the base model in {directory} reads tokens that come after the one it predicts, as BERT does, so it "
            f"would be shown the answers that it is to learn: {_REMEDY}"
        )


def _gradient_ahead(model: PreTrainedModel, tokens: torch.Tensor) -> float:
    """How much of the gradient of a prediction in the middle is that of a token after it, in parts of the largest.

    Args:
        model: its output is asked for.
        tokens: ids, shape (1, T), on its device.
    """
    kept: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, __: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_(True))
        return kept[-1].clone()  # which may be changed in place

    hook = model.get_input_embeddings().register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = model(input_ids=tokens, use_cache=False).logits[0].float()
            # Not their sum: after a normalisation of all of them that has no gradient at all.
            weights = torch.linspace(-1, 1, logits.shape[-1], device=logits.device)
            place = len(logits) // 2
            (gradient,) = torch.autograd.grad(logits[place] @ weights, kept[0])
    finally:
        hook.remove()
    sizes = gradient[0].float().norm(dim=-1)
    return float(sizes[place + 1 :].max() / sizes.max()) if sizes.any() else 0.0
