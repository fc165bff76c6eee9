"""Would the audit notice? It is run on an engine with one fault in it at a time, and must refute the claim each time.

Also on the sound engine, whose claim must stand. The recipe's model, adapter, mechanism and kind of unit stay; the
training is made such that a one-run audit can see a fault in it, for most recipes claim more than any such audit could
refute. What is trained on is made up for the purpose: no record of the site takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from sealora_client.audit.attribution import median_norm
from sealora_client.audit.canaries import Canaries, make_canaries
from sealora_client.audit.faults import Fault, applied
from sealora_client.audit.trial import ServerStep, Start, Trial, run_trial
from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import Entropy
from sealora_common.errors import ModelError, RecipeError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.records.audits import CheckSummary

CANARIES = 1000

_CLIPPED = 8.0  # how far the clipping norm lies below the median gradient, so that its absence shows
_MEASURED = 64  # canaries whose gradients the clipping norm is set by
_DELTA = 1e-5
_LEARNING_RATE = 0.01  # over the clipping norm: so small that gradients hardly change meanwhile


@dataclass(frozen=True)
class Setting:
    """A training in which some faults show.

    Attributes:
        faults: which.
        epsilon: what the noise is calibrated to.
        sample_rate: q.
        steps: in all.
        fillers: made-up records besides the canaries, for each canary.
    """

    faults: tuple[Fault, ...]
    epsilon: float
    sample_rate: float
    steps: int
    fillers: float


SETTINGS = (
    # One step on everything: the noise on it, and what it is relative to, are all that protects.
    Setting(("noise off", "noise at a quarter", "clipping off"), epsilon=2.0, sample_rate=1.0, steps=1, fillers=0.0),
    # Many steps on a few: without chance in the choice, those few are in every step.
    Setting(("sampling not Poisson",), epsilon=2.0, sample_rate=0.05, steps=20, fillers=2.0),
)


@dataclass(frozen=True)
class Check:
    """One trial of the self-check.

    Attributes:
        fault: in the engine; None for the sound engine.
        trial: what was found.
    """

    fault: Fault | None
    trial: Trial

    @property
    def passed(self) -> bool:
        """Whether the claim was refuted with a fault, and stood without one."""
        return self.trial.refutes_claim == (self.fault is not None)

    def summary(self) -> CheckSummary:
        """What of it is told."""
        return CheckSummary(fault=self.fault, passed=self.passed, trial=self.trial.summary())


def run_self_check(
    model: AdaptedModel,
    recipe: Recipe,
    shape: Population,
    *,
    canaries: int = CANARIES,
    roster_size: int,
    entropy: Entropy,
    on_check: Callable[[Fault | None], None] | None = None,
) -> list[Check]:
    """Every fault once, and the sound engine once in each setting.

    Args:
        model: its adapter is overwritten.
        recipe: its model, adapter, mechanism and micro-batches are kept.
        canaries: m of every trial; with fewer the faults are harder to see.
        shape: units that made-up ones are to resemble; nothing is trained on them.
        roster_size: sites of the federation.
        entropy: draws canaries, coins, samples and noise.
        on_check: called before each trial with its fault.

    Raises:
        RecipeError: the recipe claims no privacy.
        SealoraError: the model cannot be trained.
    """
    if not mechanism_of(recipe).protects:
        raise RecipeError(
            "privacy.mechanism is none, so there is no claim whose refutation could be checked: set it to local or "
            "distributed"
        )
    checks = []
    for setting in SETTINGS:
        made = make_canaries(canaries, shape, model.tokenizer, recipe, entropy)
        fillers = make_canaries(round(setting.fillers * canaries), shape, model.tokenizer, recipe, entropy).population
        adjusted = _adjusted(recipe, setting, _clip_norm(model, recipe, made))
        start = Start.of(model, adjusted, made.population, Population(()))
        for fault in (None, *setting.faults):
            if on_check is not None:
                on_check(fault)
            thrown = made.with_new_coins(entropy)
            with nullcontext() if fault is None else applied(fault):
                trial = run_trial(
                    model,
                    adjusted,
                    thrown,
                    fillers,
                    known=Population(()),
                    roster_size=roster_size,
                    server_step=_server_step(adjusted),
                    entropy=entropy,
                    start=start,
                )
            checks.append(Check(fault, trial))
    return checks


def _adjusted(recipe: Recipe, setting: Setting, clip_norm: float) -> Recipe:
    """`recipe` with the training of `setting`."""
    distributed = mechanism_of(recipe).sums_on_grid
    changes: dict[str, dict[str, Any]] = {
        "lora": {"aggregation": "ffa"},
        "training": {
            "sample_rate": setting.sample_rate,
            "steps_per_round": 1 if distributed else setting.steps,
            "optimizer": "sgd",
            "learning_rate": _LEARNING_RATE / clip_norm,
            "proximal_mu": 0.0,
            "weight_decay": 0.0,
        },
        "privacy": {
            "epsilon": setting.epsilon,
            "delta": _DELTA,
            "clip_norm": clip_norm,
            "clipping": "flat",
            "target_quantile": None,
            "spare_rounds": 0,
        },
    }
    sections = {name: getattr(recipe, name).model_copy(update=fields) for name, fields in changes.items()}
    return recipe.model_copy(update={"rounds": setting.steps if distributed else 1, **sections})


def _server_step(recipe: Recipe) -> ServerStep:
    """Takes a site's change as it is, and of an opened sum's, which is a step at learning rate 1, a small part."""
    part = np.float32(recipe.training.learning_rate if mechanism_of(recipe).sums_on_grid else 1.0)
    return lambda _, before, after: before + part * (after - before)


def _clip_norm(model: AdaptedModel, recipe: Recipe, canaries: Canaries) -> float:
    with model.lock:
        model.write(adapter_kind(recipe).initial(model.layout))
        some = Population(canaries.population.units[:_MEASURED])
        norm = median_norm(model, adapter_kind(recipe).trained(model.layout, 1), some, recipe)
    if not norm > 0:
        raise ModelError(
            "made-up records have no gradient at the first adapter, so nothing can be checked: choose "
            "another adapter, or other modules of it"
        )
    return norm / _CLIPPED
