"""Made-up examples on the loaded model: what it makes of a micro-batch, to the last bit, with no record in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import padded_length
from sealora_client.objective.objective import Objective
from sealora_client.training.gradients.per_example import PerExampleGradients
from sealora_common.adapter import Tensors

_ADAPTER_STD = 0.02
"""Of the made-up adapter about the one a run starts with: where LoRA's B is zero, A has no gradient and the adapter no
part; and where a vector that scales were about zero, nothing of the base model would come through it."""


@dataclass(frozen=True)
class MadeUpRows:
    """What one arrangement of a micro-batch gave, an element or row for each example in it, on the CPU.

    Attributes:
        fingerprints: int64 (examples, matrices), of the bits of each gradient.
        norms: float64 (examples, matrices + 1), of each gradient in each matrix and as a whole.
        losses: float32 (2, examples): of training, and of an evaluation.
    """

    fingerprints: torch.Tensor
    norms: torch.Tensor
    losses: torch.Tensor

    def equals(self, other: MadeUpRows, own: Sequence[int], others: Sequence[int]) -> bool:
        """Whether the examples at `own` places here came out, to the last bit, as those at `others` there."""
        return (
            torch.equal(self.fingerprints[own], other.fingerprints[others])
            and _same(self.norms[own], other.norms[others])
            and _same(self.losses[:, own], other.losses[:, others])
        )

    def distance(self, other: MadeUpRows, own: Sequence[int], others: Sequence[int]) -> float:
        """The largest relative difference of norms and losses; inf where one is not finite."""
        pairs = ((self.norms[own], other.norms[others]), (self.losses[:, own], other.losses[:, others]))
        return max(float(relative(mine, theirs).max()) for mine, theirs in pairs)


def compute(
    model: AdaptedModel, objective: Objective, gradients: PerExampleGradients, examples: Sequence[Example], pad_id: int
) -> MadeUpRows:
    """One micro-batch of training and one of an evaluation, filled up with dummies.

    Args:
        model: trains the tensors of `gradients`.
        objective: of the recipe.
        gradients: entered, as many rows as a micro-batch has.
        examples: at most as many, of one padded length.
        pad_id: the token id on padding.

    Raises:
        ModelError: gradients cannot be told apart by example, or do not reach the adapter.
    """
    rows, count = gradients.max_rows, len(examples)
    gradients.start(rows)
    batch = objective.batch(examples, pad_id, model.device, rows)
    gradients.begin(objective.owners(range(count)), batch.length, batch.rows)
    with torch.enable_grad(), _recomputing(model):
        losses = objective.losses(model, batch).means[:count]
        losses.sum().backward()  # type: ignore[no-untyped-call]
    gradients.require_arrived()
    evaluated = made_up_losses(model, objective, examples, rows, pad_id, batch.length)
    return MadeUpRows(
        fingerprints=gradients.fingerprints()[:count].cpu(),
        norms=torch.cat([gradients.norms_by_matrix(), gradients.norms()[:, None]], dim=1)[:count].cpu(),
        losses=torch.stack([losses.detach().cpu(), evaluated]),
    )


def made_up_losses(
    model: AdaptedModel, objective: Objective, examples: Sequence[Example], rows: int, pad_id: int, length: int
) -> torch.Tensor:
    """Float32 (examples,) on the CPU: mean losses as an evaluation computes them, at a padded length."""
    with torch.no_grad():
        losses = objective.losses(model, objective.batch(examples, pad_id, model.device, rows, length))
    return losses.means[: len(examples)].cpu()


def made_up_examples(model: AdaptedModel, objective: Objective, count: int, longest: int, length: int) -> list[Example]:
    """Made-up examples of one padded length, the first of them full, half of each its response."""
    shortest = next(tokens for tokens in range(longest + 1) if padded_length(tokens) == length)
    generator = np.random.default_rng(0)
    vocabulary = int(model.model.get_input_embeddings().num_embeddings)
    sizes = [longest, *generator.integers(shortest, longest + 1, count - 1).tolist()]
    sequences = [
        [Example(generator.integers(0, vocabulary, size).astype(np.int32), size // 2) for _ in range(objective.width)]
        for size in sizes
    ]
    return [objective.made_up(each, model.tokenizer) for each in sequences]


@contextmanager
def undisturbed(model: AdaptedModel, initial: Tensors) -> Iterator[None]:
    """A made-up adapter about `initial` is in the model, and dropout is off; everything is put back afterwards."""
    adapter = model.read(model.layout.names)
    modes = [(module, module.training) for module in model.model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.model.parameters()]
    generator = np.random.default_rng(0)
    try:
        model.write({name: value + generator.normal(0, _ADAPTER_STD, value.shape) for name, value in initial.items()})
        model.model.eval()
        yield
    finally:
        model.write(adapter)
        for module, mode in modes:
            module.training = mode
        for parameter, grad in wanted:
            parameter.requires_grad_(grad)


@contextmanager
def _recomputing(model: AdaptedModel) -> Iterator[None]:
    """Gradient checkpointing happens in training mode only: the modules that do it are put into it, and no others."""
    for module in checkpointing(model):
        module.training = True
    try:
        yield
    finally:
        for module in checkpointing(model):
            module.training = False


def checkpointing(model: AdaptedModel) -> list[torch.nn.Module]:
    """The modules that compute again what they did not keep."""
    return [module for module in model.model.modules() if getattr(module, "gradient_checkpointing", False)]


def _same(mine: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Equal, where not-a-number equals itself: what overflows in 16 bits must at least do so alike."""
    return bool(((mine == theirs) | (mine.isnan() & theirs.isnan())).all())


def relative(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Differences relative to the largest element; inf where one is not finite."""
    scale = theirs.abs().max().clamp(min=torch.finfo(theirs.dtype).tiny)
    return ((mine - theirs).abs() / scale).nan_to_num(nan=torch.inf)
