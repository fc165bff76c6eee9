"""A small piece of a round's work, done and timed: what memory it takes, and how long a round will be.

Before that the model is asked whether examples meet in its micro-batches (`training.batch_invariance`), on the device
that will train.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch

from sealora_client.check.machine import free_memory
from sealora_client.check.workload import Workload
from sealora_client.data.population import Population
from sealora_client.evaluation.choice import federation_metric
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.device import peak_memory, wait_for
from sealora_client.model.fixed_shape import micro_batches, padded_length
from sealora_client.training.choice import training_of
from sealora_client.training.clipped_sum import ClippedSum
from sealora_client.training.gradients.batch_invariance import require_batch_invariant
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import SealoraError
from sealora_common.health.finding import Finding, failed, passed, warned
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe
from sealora_common.show.duration_text import duration_text
from sealora_common.show.size_text import size_text

Clock = Callable[[], float]

_NOISE_DRAWS = 100_000
_COMFORTABLE = 0.5  # of the recipe's training_timeout


@dataclass(frozen=True)
class DryRun:
    """What a small piece of a round took, in seconds.

    Attributes:
        batch: one micro-batch of gradients, of middling length.
        forward: one micro-batch of evaluation.
        noise: one step's noise.
    """

    batch: float
    forward: float
    noise: float

    def step_seconds(self, recipe: Recipe, workload: Workload, units: int | None = None, devices: int = 1) -> float:
        """An estimate for a step of training, over `units` of the lengths that `workload` has, or over its own, whose
        sum so many devices share out.
        """
        training, kept = recipe.training, recipe.privacy.records_per_person
        likeness = 1.0 if units is None else units / len(workload.train)
        used: dict[int, float] = defaultdict(float)
        for unit in workload.train.units:
            share = min(len(unit), kept) / len(unit)
            for length in (padded_length(example.length) for example in unit):
                used[length] += share
        drawn = [training.sample_rate * likeness * count for count in used.values()]
        # Dummies fill up the last micro-batch of each length, half of it on average.
        dummies = (training.micro_batch_size - 1) / 2
        batches = sum((count + min(1.0, count) * dummies) / training.micro_batch_size for count in drawn)
        return batches / devices * self.batch + self.noise

    def evaluation_seconds(self, recipe: Recipe, workload: Workload) -> float:
        """An estimate for an evaluation."""
        return _count_batches(workload.heldout, recipe.training.micro_batch_size) * self.forward

    def round_seconds(self, recipe: Recipe, workload: Workload, units: int | None = None, devices: int = 1) -> float:
        """An estimate for a whole round of training with an evaluation."""
        steps = recipe.training.steps_per_round * self.step_seconds(recipe, workload, units, devices)
        return steps + self.evaluation_seconds(recipe, workload)


def check_dry_run(
    recipe: Recipe, model: AdaptedModel, workload: Workload, roster_size: int, devices: int = 1
) -> Iterator[Finding]:
    """Computes the gradients of one micro-batch and evaluates another. Nothing is charged, nothing leaves."""
    try:
        with model.lock:
            require_batch_invariant(model, recipe)
            trial = try_round(recipe, model, workload, roster_size)
    except (torch.OutOfMemoryError, MemoryError):
        yield failed(
            "memory",
            f"a micro-batch of {recipe.training.micro_batch_size} does not fit: agree on a smaller "
            "training.micro_batch_size, on model.gradient_checkpointing, or on a smaller data.max_tokens",
        )
        return
    except SealoraError as error:
        yield failed("training", str(error))
        return
    left = free_memory()
    yield passed("memory", f"training peaked at {size_text(peak_memory(model.device))}; {size_text(left)} are free now")
    yield _on_time(recipe, trial.round_seconds(recipe, workload, devices=devices))


def try_round(
    recipe: Recipe, model: AdaptedModel, workload: Workload, roster_size: int, clock: Clock = time.perf_counter
) -> DryRun:
    """Does and times the pieces, by a clock in seconds. The caller holds `model.lock` where others may use the model.

    Raises:
        SealoraError: the recipe cannot be trained with this model and these records.
    """
    size, plan = recipe.training.micro_batch_size, privacy_plan(recipe, roster_size).training
    heldout = _typical(workload.heldout, 1)
    _gradients(plan, recipe, model, _typical(workload.train, size), clock)  # a start takes longer, and is not counted
    batch = _gradients(plan, recipe, model, _typical(workload.train, size), clock)
    metric = federation_metric(recipe)
    metric.measure(model, heldout, recipe)
    started = clock()
    metric.measure(model, heldout, recipe)
    wait_for(model.device)
    return DryRun(batch, clock() - started, _noise(plan, recipe, model, clock))


def _typical(population: Population, count: int) -> Population:
    """Up to so many examples of middling length, all of one padded length: one micro-batch, each a unit."""
    lengths = sorted(example.length for unit in population.units for example in unit)
    length = padded_length(lengths[len(lengths) // 2])
    of_length = (e for unit in population.units for e in unit if padded_length(e.length) == length)
    return Population(tuple((example,) for example in islice(of_length, count)))


def _count_batches(population: Population, size: int) -> int:
    return sum(1 for _ in micro_batches([example for unit in population.units for example in unit], size))


def _gradients(plan: TrainingPlan, recipe: Recipe, model: AdaptedModel, population: Population, clock: Clock) -> float:
    """Seconds for the clipped sum over all of `population`."""
    every = replace(plan, event=replace(plan.event, sample_rate=1.0))
    layout = adapter_kind(recipe).trained(model.layout, 1)
    sums = ClippedSum(
        model,
        layout,
        population,
        plan=every,
        recipe=recipe,
        clip_norm=recipe.privacy.clip_norm,
        entropy=SystemEntropy(),
    )
    with sums:
        started = clock()
        sums.draw()
        wait_for(model.device)
        return clock() - started


def _noise(plan: TrainingPlan, recipe: Recipe, model: AdaptedModel, clock: Clock) -> float:
    """Seconds for one step's noise, from a part of it."""
    size = adapter_kind(recipe).trained(model.layout, 1).size
    draws = min(size, _NOISE_DRAWS)
    started = clock()
    training_of(recipe).noise(plan, draws, SystemEntropy())
    return (clock() - started) * size / draws


def _on_time(recipe: Recipe, seconds: float) -> Finding:
    all_rounds = duration_text(recipe.rounds * seconds)
    said = f"a round takes about {duration_text(seconds)} here, all {recipe.rounds} about {all_rounds}"
    limit = recipe.sites.training_timeout
    if seconds > limit:
        return failed(
            "time",
            f"{said}, but the recipe's sites.training_timeout is {duration_text(limit)}: use a faster machine, or "
            "agree on more time or less work",
        )
    if seconds > _COMFORTABLE * limit:
        return warned(
            "time", f"{said}, close to the recipe's sites.training_timeout of {duration_text(limit)}: agree on more"
        )
    return passed("time", said)
