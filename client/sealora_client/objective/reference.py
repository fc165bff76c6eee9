"""The model as it was before it was trained: what some objectives compare it with.

That is the base model under the adapter that the first round starts from. What it makes of a sequence follows from
that sequence alone, so it is computed once a process, in the fixed shapes of training, and kept in memory: it never
leaves the site, and its bits are the same whatever it was computed together with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

from sealora_client.model.loss import Batch, response_losses
from sealora_common.adapter import Tensors, adapter_kind
from sealora_common.recipe import Recipe

if TYPE_CHECKING:
    from sealora_client.model.adapted import AdaptedModel


@dataclass
class _Start:
    """What is known of one recipe's reference.

    Attributes:
        recipe: its hash.
        adapter: that the first round starts from.
        losses: each row's negative log-likelihood, by a digest of all that it follows from.
    """

    recipe: str
    adapter: Tensors
    losses: dict[bytes, float] = field(default_factory=dict)


_starts: WeakKeyDictionary[AdaptedModel, _Start] = WeakKeyDictionary()
"""One a model: a process works on one recipe at a time."""


@dataclass(frozen=True)
class Reference:
    """The recipe's model before round 1.

    Attributes:
        recipe: says which adapter that is.
    """

    recipe: Recipe

    def response_losses(self, model: AdaptedModel, batch: Batch) -> torch.Tensor:
        """Each row's negative log-likelihood of its response under the reference, in nats: float32 (rows,).

        Without dropout and without a gradient. A micro-batch of which a row is not known is computed as a whole, so
        that shapes stay as they are. Rows are known by all their tokens, padding included, and dummies are rows: the
        question whether rows keep apart is answered by the model, and not from memory.

        Args:
            model: holds any adapter, and holds it again afterwards.
            batch: of rows whose losses do not depend on each other.
        """
        start = _start(model, self.recipe)
        digests = _digests(batch)
        if all(digest in start.losses for digest in digests):
            known = [start.losses[digest] for digest in digests]
            return torch.tensor(known, dtype=torch.float32, device=batch.tokens.device)
        with _holding(model, start.adapter):
            found, _ = response_losses(model.model, batch)
        start.losses.update(zip(digests, found.tolist(), strict=True))
        return found


def _start(model: AdaptedModel, recipe: Recipe) -> _Start:
    start = _starts.get(model)
    if start is None or start.recipe != recipe.hash:
        start = _Start(recipe.hash, adapter_kind(recipe).initial(model.layout))
        _starts[model] = start
    return start


def _digests(batch: Batch) -> list[bytes]:
    """Of each row: its tokens, which of them are padding and which predict, and the shape that it is computed in."""
    predicting = torch.zeros(batch.tokens.numel(), dtype=torch.int64, device=batch.tokens.device)
    predicting[batch.predicting] = 1
    rows = torch.stack([batch.tokens, batch.attention_mask, predicting.view(batch.tokens.shape)], dim=1).cpu().numpy()
    shape = f"{batch.rows} {batch.length}\n".encode()
    return [hashlib.blake2b(shape + row.tobytes(), digest_size=16).digest() for row in rows]


@contextmanager
def _holding(model: AdaptedModel, adapter: Tensors) -> Iterator[None]:
    """`adapter` is in the model meanwhile, dropout is off and nothing is kept for a gradient."""
    live = model.read(model.layout.names)
    modes = [(module, module.training) for module in model.model.modules()]
    try:
        model.write(adapter)
        model.model.eval()
        with torch.no_grad():
            yield
    finally:
        model.write(live)
        for module, mode in modes:
            module.training = mode
