"""One round of DP-SGD on a LoRA adapter (Abadi et al. 2016, arXiv:1607.00133, Alg. 1).

Each step: a Poisson sample of the records, every record's gradient clipped, their sum plus one draw of Gaussian
noise, an optimiser step. What follows the noise is post-processing and costs nothing. A step whose sample is
empty adds noise and counts like any other: that no record was drawn is itself a secret.

The sum is divided by the expected batch q N, not by the size of the sample drawn, which is secret. The number of
records N is treated as public, as the literature does; so are the steps and the sampling rate.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sealora_client.data.example import Example
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.loss import collate, response_losses
from sealora_client.training.noise import gaussian
from sealora_client.training.optimizer import OptimizerState, carry, make_optimizer, restore
from sealora_client.training.per_example import PerExampleGradients
from sealora_client.training.sampling import poisson_batch
from sealora_common.entropy import Entropy
from sealora_common.errors import BudgetError, DataError, ModelError
from sealora_common.recipe.schema import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRound:
    """What one round of training made. Only `delta` is private enough to leave the site, and only sealed.

    Attributes:
        delta: float32, shape (P,): the trained tensors' change over the round, in order of the trained layout.
        steps: DP-SGD steps taken.
        optimizer_state: moments for the next round (see `OptimizerState` on when to keep them), or None.
        moved: whether any parameter changed.
        examples_seen: records drawn over all steps. LOCAL, like all that follow: no noise protects them.
        non_finite: records whose gradient was not finite; they contributed nothing.
        median_gradient_norm: before clipping; nan if no record was drawn.
        clipped_fraction: share of finite gradients that were clipped; nan if there was none.
    """

    delta: NDArray[np.float32]
    steps: int
    optimizer_state: OptimizerState | None
    moved: bool
    examples_seen: int
    non_finite: int
    median_gradient_norm: float
    clipped_fraction: float


def train_round(
    model: AdaptedModel,
    examples: Sequence[Example],
    *,
    recipe: Recipe,
    round_number: int,
    noise_multiplier: float,
    entropy: Entropy,
    optimizer_state: OptimizerState | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> TrainedRound:
    """Trains `recipe.training.steps_per_round` steps from the adapter that is in `model` now.

    The caller has written the global adapter into the model, charged the ledger for exactly these steps at this
    noise multiplier and `recipe.training.sample_rate`, and holds `model.lock` where others may use the model.
    The model is left with the trained adapter in it.

    With `privacy.mechanism: none` the same steps are taken without clipping and without noise.

    Args:
        model: a base model with the adapter on it, float32 adapter weights.
        examples: the site's training records, all of them: sampling is done here.
        recipe: sections `training`, `privacy` and `lora.aggregation` are read.
        round_number: first round is 1; with `alternating` it says which half is trained.
        noise_multiplier: sigma; the noise on a step's sum has standard deviation sigma * clip_norm.
        entropy: keys the sampling and the noise of each step, and seeds dropout.
        optimizer_state: moments from the last released round that trained the same tensors.
        on_step: called after each step with (steps done, steps in all).

    Raises:
        BudgetError: the noise multiplier does not fit the mechanism (local: above 0, none: 0).
        DataError: there are no examples.
        ModelError: the adapter cannot be trained by example, or its weights diverged.
    """
    _require_trainable(examples, recipe, noise_multiplier)
    training = recipe.training
    private = recipe.privacy.mechanism == "local"
    clip_norm = recipe.privacy.clip_norm if private else math.inf

    layout = model.layout.trained(recipe.lora.aggregation, round_number)
    model.train_only(layout)
    parameters = model.parameters_of(layout)
    start = [parameter.detach().clone() for parameter in parameters]
    optimizer = make_optimizer(training, parameters)
    if optimizer_state is not None:
        restore(optimizer, parameters, layout, optimizer_state)

    linears = dict(model.lora_linears())
    micro_batch_size = min(training.micro_batch_size, len(examples))
    gradients = PerExampleGradients([(name, linears[name]) for name in layout.names], micro_batch_size)
    total = torch.zeros(layout.size, dtype=torch.float64, device=gradients.flat.device)
    norms: list[float] = []
    clipped = non_finite = 0
    with gradients, _training_mode(model, entropy):
        for step in range(training.steps_per_round):
            drawn = poisson_batch(entropy, len(examples), training.sample_rate)
            total.zero_()
            for micro_batch in _micro_batches(examples, drawn, micro_batch_size):
                batch = collate(micro_batch, model.pad_id, model.device)
                gradients.begin(*batch.tokens.shape)
                nll_sum, token_count = response_losses(model.model, batch)
                (nll_sum / token_count.clamp(min=1)).sum().backward()  # type: ignore[no-untyped-call]
                outcome = gradients.clipped_sum_(total, clip_norm)
                norms += outcome.norms.tolist()
                clipped += outcome.clipped
                non_finite += outcome.non_finite
            if private:
                noise = gaussian(entropy, layout.size, noise_multiplier * clip_norm)
                total += torch.from_numpy(noise).to(total.device)
            total /= training.sample_rate * len(examples)
            _apply(optimizer, parameters, start, total, training.proximal_mu)
            if on_step is not None:
                on_step(step + 1, training.steps_per_round)

    delta = np.concatenate(
        [(now.detach() - then).reshape(-1).cpu().numpy() for now, then in zip(parameters, start, strict=True)]
    )
    moved = _require_finite(delta, recipe, round_number)
    finite = [norm for norm in norms if math.isfinite(norm)]
    return TrainedRound(
        delta=delta,
        steps=training.steps_per_round,
        optimizer_state=carry(optimizer, parameters, layout),
        moved=moved,
        examples_seen=len(norms),
        non_finite=non_finite,
        median_gradient_norm=float(np.median(finite)) if finite else math.nan,
        clipped_fraction=clipped / len(finite) if finite else math.nan,
    )


def _micro_batches(examples: Sequence[Example], drawn: NDArray[np.int64], size: int) -> Iterator[list[Example]]:
    """The drawn examples in groups of `size`, alike in length, which saves padding.

    Longest first: if memory is going to run out it does so at once. Clipping is by example, so grouping does not
    change the sum.
    """
    ordered = sorted((examples[index] for index in drawn), key=lambda example: -len(example.tokens))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _apply(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    start: Sequence[torch.Tensor],
    gradient: torch.Tensor,
    proximal_mu: float,
) -> None:
    """One optimiser step along the flat float64 `gradient`, shape (P,)."""
    offset = 0
    for parameter, origin in zip(parameters, start, strict=True):
        piece = gradient[offset : offset + parameter.numel()].view_as(parameter).to(parameter.dtype)
        if proximal_mu:
            # FedProx (Li et al. 2020, eq. 2): depends on released weights alone, so it joins after the noise.
            piece = piece + proximal_mu * (parameter.detach() - origin)
        parameter.grad = piece
        offset += parameter.numel()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@contextmanager
def _training_mode(model: AdaptedModel, entropy: Entropy) -> Iterator[None]:
    """Dropout on, and drawn from `entropy` without disturbing the process's generator; afterwards as before."""
    was_training = model.model.training
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(int.from_bytes(entropy.bytes(8), "big") >> 1)
        model.model.train()
        try:
            yield
        finally:
            model.model.train(was_training)


def _require_trainable(examples: Sequence[Example], recipe: Recipe, noise_multiplier: float) -> None:
    if not examples:
        raise DataError("there are no training records: name a data file that holds some")
    if recipe.privacy.mechanism == "none" and noise_multiplier != 0:
        raise BudgetError(f"noise_multiplier is {noise_multiplier}: it must be 0 with privacy.mechanism: none")
    if recipe.privacy.mechanism == "local" and not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        raise BudgetError(f"noise_multiplier is {noise_multiplier}: it must be above 0 with privacy.mechanism: local")


def _require_finite(delta: NDArray[np.float32], recipe: Recipe, round_number: int) -> bool:
    """Whether the adapter moved at all; it must have stayed finite."""
    if not np.isfinite(delta).all():
        raise ModelError(
            f"the adapter's weights diverged in round {round_number}: lower training.learning_rate, which is "
            f"{recipe.training.learning_rate}"
        )
    moved = bool(delta.any())
    if not moved:
        log.warning("round %d did not change the adapter at all: its delta is zero", round_number)
    return moved
