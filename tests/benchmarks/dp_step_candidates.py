"""Ways to take the same training steps: without privacy, with Sealora's DP-SGD, and with Opacus's.

All take the per-example losses of `sealora_client.model.loss` over the same batches, split into the same micro-batches
of fixed shapes, dummies included, and step the same optimiser. A round begins with making the optimiser and ends with
the adapter trained.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from sealora_client.data.example import Example
from sealora_client.data.population import Population
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.fixed_shape import micro_batches
from sealora_client.model.loss import collate, response_losses
from sealora_client.training import clipped_sum, dp_sgd
from sealora_client.training.dp_sgd import train_round
from sealora_client.training.optimizer import make_optimizer
from sealora_client.training.sampling import poisson_batch
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import Entropy, SystemEntropy
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.privacy.mechanisms.local import LOCAL_GRID_STEPS
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe

NOISE_MULTIPLIER = 1.0

Samples = Sequence[NDArray[np.int64]]
"""The indices that each step of a round draws."""


@dataclass(frozen=True)
class Bench:
    """What every candidate trains: `recipe` says which half of the adapter, and how."""

    model: AdaptedModel
    examples: Sequence[Example]
    recipe: Recipe

    @property
    def expected(self) -> float:
        """Examples a step is expected to draw."""
        return self.recipe.training.sample_rate * len(self.examples)

    def draw(self, steps: int) -> Samples:
        """Poisson samples for a round."""
        rate = self.recipe.training.sample_rate
        return [poisson_batch(SystemEntropy(), len(self.examples), rate) for _ in range(steps)]

    def parameters(self) -> list[torch.nn.Parameter]:
        """Of the half that is trained; nothing else requires a gradient then."""
        layout = adapter_kind(self.recipe).trained(self.model.layout, 1)
        self.model.train_only(layout)
        self.model.model.train()
        return self.model.parameters_of(layout)

    def losses(self, sample: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, bool]]:
        """Each micro-batch's losses by row, 0 for dummies, and whether it is the step's last."""
        drawn = [self.examples[index] for index in sample]
        rows = self.recipe.training.micro_batch_size
        planned = list(micro_batches(drawn, rows))
        for places in planned:
            batch = collate([drawn[place] for place in places], self.model.pad_id, self.model.device, rows)
            nll_sum, tokens = response_losses(self.model.model, batch)
            yield nll_sum / tokens.clamp(min=1), places is planned[-1]


def non_private(bench: Bench, samples: Samples) -> None:
    """An ordinary backward pass over the sum of the losses."""
    optimizer = make_optimizer(bench.recipe.training, bench.parameters())
    for sample in samples:
        for losses, _ in bench.losses(sample):
            (losses.sum() / bench.expected).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def sealora(bench: Bench, samples: Samples) -> None:
    """A round of `train_round`. It samples by itself and is then given the common sample."""
    planned, training = iter(samples), bench.recipe.training
    event = PrivacyEvent(NOISE_MULTIPLIER, training.sample_rate, training.steps_per_round)

    def sample(entropy: Entropy, population: int, rate: float) -> NDArray[np.int64]:
        poisson_batch(entropy, population, rate)
        return next(planned)

    with patch.object(clipped_sum, "poisson_batch", sample):
        train_round(
            bench.model,
            Population.of(bench.examples),
            plan=TrainingPlan.of(bench.recipe, event, LOCAL_GRID_STEPS),
            recipe=bench.recipe,
            round_number=1,
            leave=Rehearsal(event),
            entropy=SystemEntropy(),
        )


def sealora_noise_after(bench: Bench, samples: Samples) -> None:
    """The same with each step's noise drawn after its sum, and not while it is computed."""
    with patch.object(dp_sgd, "noise_meanwhile", _drawn_after):
        sealora(bench, samples)


@dataclass(frozen=True)
class _DrawnAfter:
    draw: Callable[[Entropy], NDArray[np.int64]]
    entropy: Entropy

    def take(self) -> NDArray[np.int64]:
        return self.draw(self.entropy)


@contextmanager
def _drawn_after(draw: Callable[[Entropy], NDArray[np.int64]], entropy: Entropy) -> Iterator[_DrawnAfter]:
    yield _DrawnAfter(draw, entropy)


def opacus_hooks(bench: Bench, samples: Samples) -> None:
    """Opacus's per-sample gradients by hooks, kept until the step."""
    from opacus.grad_sample import GradSampleHooks
    from opacus.optimizers import DPOptimizer

    parameters = bench.parameters()
    hooks = GradSampleHooks(bench.model.model, loss_reduction="sum", strict=False)
    optimizer = DPOptimizer(make_optimizer(bench.recipe.training, parameters), **_settings(bench))
    try:
        for sample in samples:
            for losses, last in bench.losses(sample):
                losses.sum().backward()  # type: ignore[no-untyped-call]
                optimizer.signal_skip_step(not last)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
    finally:
        hooks.cleanup()


def opacus_ghost(bench: Bench, samples: Samples) -> None:
    """Opacus's ghost clipping: norms in one backward pass, the clipped sum in a second one."""
    from opacus.grad_sample import GradSampleHooksFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

    parameters = bench.parameters()
    clip_norm = bench.recipe.privacy.clip_norm
    hooks = GradSampleHooksFastGradientClipping(
        bench.model.model, loss_reduction="sum", strict=False, max_grad_norm=clip_norm
    )
    optimizer = DPOptimizerFastGradientClipping(make_optimizer(bench.recipe.training, parameters), **_settings(bench))
    try:
        for sample in samples:
            for losses, last in bench.losses(sample):
                DPTensorFastGradientClipping(hooks, optimizer, losses, "sum").backward()
                optimizer.signal_skip_step(not last)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
    finally:
        hooks.cleanup()


def opake_verdict(bench: Bench) -> str:
    """What Opake (`torch.func`) makes of one micro-batch on this model: "works", or why not."""
    try:
        from opake.dpsgd.clipping import clipped_grad
        from opake.patches import apply_model_patches, apply_runtime_patches
    except ImportError:
        return "is not installed"
    bench.parameters()
    model = copy.deepcopy(bench.model.model)
    apply_runtime_patches()
    apply_model_patches(model)
    batch = collate(bench.examples[:2], bench.model.pad_id, bench.model.device)
    responses = min(example.response_length for example in bench.examples[:2])
    after = batch.tokens.shape[1] - responses

    def loss(params: dict[str, torch.Tensor], tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        inputs = {"input_ids": tokens[None], "use_cache": False}
        logits = torch.func.functional_call(model, params, (), inputs).logits[0, after - 1 : -1]
        return torch.nn.functional.cross_entropy(logits.float(), targets)

    trained = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    function, state = clipped_grad(loss, clipping_norm=1.0, batch_argnums=(1, 2), normalize_by=bench.expected)
    try:
        function(trained, batch.tokens, batch.tokens[:, after:], state=state)
    except (RuntimeError, NotImplementedError) as error:
        return f"fails: {str(error).partition('. ')[0]}"
    return "works"


def _settings(bench: Bench) -> dict[str, Any]:
    return {
        "noise_multiplier": NOISE_MULTIPLIER,
        "max_grad_norm": bench.recipe.privacy.clip_norm,
        "expected_batch_size": bench.expected,
        "loss_reduction": "sum",
    }


CANDIDATES: dict[str, Callable[[Bench, Samples], None]] = {
    "non_private": non_private,
    "sealora": sealora,
    "sealora_noise_after": sealora_noise_after,
    "opacus_hooks": opacus_hooks,
    "opacus_ghost": opacus_ghost,
}
