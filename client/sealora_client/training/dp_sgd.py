"""One round of DP-SGD on an adapter (Abadi et al. 2016, arXiv:1607.00133, Alg. 1): the mechanism `local`.

Each step: a Poisson sample of the units (records or persons), every unit's gradient clipped, their sum plus one draw
of noise, an optimiser step. What follows the noise is post-processing and costs nothing. A step whose sample is empty
adds noise and counts like any other: that no unit was drawn is itself a secret.

Gradients are summed as integers and the noise is a Gaussian rounded to integers, sampled exactly. As round(x + z) is
x + round(z) for an integer x, the noisy sum is the rounding of what the Gaussian mechanism would release, and the
accounting of that mechanism holds to the last bit; floating-point arithmetic adds nothing for an attacker to read
(Mironov, CCS 2012).

The sum is divided by the expected batch q N, not by the size of the sample drawn, which is secret. The number of
units N is treated as public, as the literature does; so are the steps and the sampling rate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.ledger import Leave
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.device import to_device
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.devices.group import DeviceGroup
from sealora_client.training.noise.meanwhile import noise_meanwhile
from sealora_client.training.noise.rounded_gaussian import MAX_STD, rounded_gaussian
from sealora_client.training.optimizer import make_optimizer, set_learning_rate
from sealora_client.training.payment import require_paid
from sealora_client.training.round_training import TrainedRound
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import Entropy
from sealora_common.errors import BudgetError
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe.schema import Recipe
from sealora_common.round.clip_norm import unclipped_share
from sealora_common.round.learning_rate import learning_rate

log = logging.getLogger(__name__)


def train_round(
    model: AdaptedModel,
    population: Population,
    *,
    plan: TrainingPlan,
    recipe: Recipe,
    round_number: int,
    leave: Leave | None,
    entropy: Entropy,
    clip_norm: float | None = None,
    on_step: Callable[[int, int], None] | None = None,
    devices: DeviceGroup | None = None,
) -> TrainedRound:
    """Trains the steps of `plan` from the adapter that is in `model` now.

    The caller has written the global adapter into the model, and holds `model.lock` where others may use the model.
    The model is left with the trained adapter in it. Every round starts its optimiser afresh: moments carried
    through a lost attempt would tie two attempts' noise to one charge.

    A plan without noise takes the same steps without clipping.

    Args:
        model: a base model with the adapter on it, float32 adapter weights.
        population: the site's units of privacy, all of them: sampling is done here.
        plan: what is drawn, clipped and noised: a standard deviation of sigma * clip_norm on a step's sum.
        recipe: for its objective, its optimiser and `lora.aggregation`; nothing that is accounted is read from it.
        round_number: first round is 1; it says where in the learning rate's schedule the round is, and
            with `alternating` which half is trained.
        leave: the ledger's charge for the plan's event, or a rehearsal of it; None if the plan adds no noise.
        entropy: keys the sampling and the noise of each step, and seeds dropout.
        clip_norm: C of this round; None for the recipe's.
        on_step: called after each step with (steps done, steps in all).
        devices: those that share the sums out with this process, prepared for the recipe; None for none.

    Raises:
        BudgetError: the leave is not for what would run, or there is none, or the plan is of a sum that sites share.
        DataError: there are no examples.
        ModelError: the adapter cannot be trained by example.
    """
    require_drawable(plan)
    require_paid(plan, leave, recipe=recipe, round_number=round_number)
    training, grid_steps = recipe.training, plan.grid_steps
    norm = recipe.privacy.clip_norm if clip_norm is None else clip_norm
    expected = plan.expected_batch(len(population))

    layout = adapter_kind(recipe).trained(model.layout, round_number)
    parameters = model.parameters_of(layout)
    start = [parameter.detach().clone() for parameter in parameters]
    votes = torch.zeros((), dtype=torch.float64, device=model.device)
    sums = ClippedSum(
        model,
        layout,
        population,
        plan=plan,
        recipe=recipe,
        clip_norm=norm,
        entropy=entropy,
        devices=devices,
    )
    optimizer = make_optimizer(training, parameters)
    with sums:
        for step in range(plan.steps):
            total = _noisy_sum(sums, plan, entropy)
            if grid_steps:
                votes += total[-1]
                total *= norm / grid_steps
            total /= expected
            set_learning_rate(optimizer, learning_rate(recipe, round_number, step))
            _apply(optimizer, parameters, start, total, training.proximal_mu)
            if on_step is not None:
                on_step(step + 1, plan.steps)

    delta = np.concatenate(
        [(now.detach() - then).reshape(-1).cpu().numpy() for now, then in zip(parameters, start, strict=True)]
    )
    delta = _finite(delta, recipe, round_number)
    moved = bool(delta.any())
    if not moved:
        log.warning("round %d did not change the adapter at all: its delta is zero", round_number)
    return TrainedRound(
        values=delta,
        unclipped=unclipped_share(float(votes), grid_steps, expected * plan.steps) if plan.votes else None,
        moved=moved,
        figures=sums.figures,
    )


def _noisy_sum(sums: ClippedSum, plan: TrainingPlan, entropy: Entropy) -> torch.Tensor:
    """One step's sum with its noise, if the plan has any: float64, shape (size,)."""
    sample = sums.sample()
    if not plan.grid_steps:
        return sums.sum_of(sample)
    with noise_meanwhile(partial(step_noise, plan, sums.size), entropy) as noise:
        total = sums.sum_of(sample)
        total += to_device(torch.from_numpy(noise.take()), total.device)
    return total


def step_noise(plan: TrainingPlan, size: int, entropy: Entropy) -> NDArray[np.int64]:
    """All the noise on the sum of one step, int64 in grid steps, shape (size,)."""
    return rounded_gaussian(entropy, size, plan.noise_std)


def _apply(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    start: Sequence[torch.Tensor],
    gradient: torch.Tensor,
    proximal_mu: float,
) -> None:
    """One optimiser step along the flat float64 `gradient`; what stands after its first P elements is not used."""
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


def require_drawable(plan: TrainingPlan) -> None:
    """Refuses a plan whose noise no site adds by itself.

    Raises:
        BudgetError: it is shared with other sites, or so large that it cannot be drawn.
    """
    if plan.grid is not None:
        raise BudgetError("privacy.mechanism: distributed trains no delta at a site: see `training.distributed`")
    if plan.noise_std > MAX_STD:
        raise BudgetError(
            f"noise_multiplier is {plan.event.noise_multiplier}: more than {MAX_STD / plan.grid_steps:g} cannot be "
            "drawn"
        )


def _finite(delta: NDArray[np.float32], recipe: Recipe, round_number: int) -> NDArray[np.float32]:
    """The delta, with 0 for coordinates that are no number any more.

    Whether any is can depend on a record, so it is no reason for a site not to answer; it is said loudly at the site.
    """
    spoilt = int(np.count_nonzero(~np.isfinite(delta)))
    if spoilt:
        log.error(
            "round %d: %d of %d adapter weights diverged and are sent as unchanged: agree on a lower "
            "training.learning_rate, which is %g",
            round_number,
            spoilt,
            delta.size,
            recipe.training.learning_rate,
        )
        delta = np.where(np.isfinite(delta), delta, np.float32(0.0))
    return delta
