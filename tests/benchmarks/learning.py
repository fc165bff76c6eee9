"""What a recipe teaches, without its messages: each site's part of a round and the server's step, and nothing between.

    sealora-site model fetch smollm2-135m-instruct && sealora-site demo-data .cache/demo
    python tests/benchmarks/learning.py configs/demo-icd10-distributed.yaml --seeds 3 --json server.momentum=0.5

Samples, clipping, noise, weights and the server's optimiser are a run's own, of the recipe with the settings that
follow it; sealing, receipts and the ledger are left out, as they change no figure. Losses are exact, the mean over
sites of nats a response token. For trying what learns more at the same epsilon before a whole federation is run for it
(`utility.py`). Samples and noise follow from the seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.load import SiteData, load_data
from sealora_client.evaluation.heldout_loss import heldout_loss
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel, adapted_model
from sealora_client.objective.choice import objective_of
from sealora_client.training.choice import training_of
from sealora_client.training.round_training import TrainedRound
from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe import Recipe, load_recipe
from sealora_server.simulation.server_step import ServerStep


@dataclass(frozen=True)
class Course:
    """What one seed's run came to.

    Attributes:
        before: held-out loss under the adapter that the run began with.
        after: under the one that it ended with.
        norms: the median gradient's, before clipping, mean over the sites: one figure a round.
        parameters: P, numbers trained.
        noise_multiplier: of a round's plan.
        seconds: of the rounds alone.
    """

    before: float
    after: float
    norms: tuple[float, ...]
    parameters: int
    noise_multiplier: float
    seconds: float


def main() -> None:
    """Runs every seed and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="settings of the recipe, KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    options = parser.parse_intermixed_args()
    recipe = load_recipe(options.recipe, options.overrides)
    if recipe.privacy.target_quantile is not None:
        parser.error("a clipping norm that adapts follows from the sealed votes: leave out privacy.target_quantile")
    model = adapted_model(recipe)
    sites = [load_data(Path(data), recipe, model) for _, data in sorted(recipe.sites.simulated.items())]
    courses = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        courses.append(follow(recipe, model, sites, seed))
        print(f"seed {seed}: {courses[-1]}", file=sys.stderr, flush=True)
    figures = {
        "settings": options.overrides,
        "parameters": courses[0].parameters,
        "noise_multiplier": courses[0].noise_multiplier,
        "loss_before": round(fmean(course.before for course in courses), 4),
        "loss_after": [round(course.after, 4) for course in courses],
        "median_norms": [[round(norm, 3) for norm in course.norms] for course in courses],
        "seconds": round(median(course.seconds for course in courses), 1),
    }
    print(json.dumps(figures) if options.json else "\n".join(f"{key:18} {value}" for key, value in figures.items()))


def follow(recipe: Recipe, model: AdaptedModel, sites: Sequence[SiteData], seed: int) -> Course:
    """All rounds of the recipe at all sites, from its first adapter."""
    kind, plan = adapter_kind(recipe), privacy_plan(recipe, len(sites)).training
    shared, tensors = kind.shared(model.layout), kind.initial(model.layout)
    server, norms = ServerStep(recipe), list[float]()
    with model.lock:
        model.write(tensors)
        before = _heldout(recipe, model, sites)
        adapter, started = shared.flatten(tensors), time.perf_counter()
        for number in range(1, recipe.rounds + 1):
            rounds = []
            for place, site in enumerate(sites):
                model.write(shared.unflatten(adapter))
                rounds.append(
                    training_of(recipe).train(
                        model,
                        site.train,
                        plan=plan,
                        recipe=recipe,
                        round_number=number,
                        clip_norm=recipe.privacy.clip_norm,
                        leave=Rehearsal(plan.event) if plan.protects else None,
                        entropy=SeededEntropy("learning", seed, place, number),
                    )
                )
            norms.append(fmean(each.figures.median_norm for each in rounds))
            change = _mean(rounds, [len(site.train) for site in sites], plan, recipe.privacy.clip_norm)
            trained: AdapterLayout = kind.trained(model.layout, number)
            adapter = server(number, adapter, shared.add(adapter, trained, change))
        seconds = time.perf_counter() - started
        model.write(shared.unflatten(adapter))
        after = _heldout(recipe, model, sites)
    return Course(before, after, tuple(norms), shared.size, plan.event.noise_multiplier, seconds)


def _mean(
    rounds: Sequence[TrainedRound], units: Sequence[int], plan: TrainingPlan, clip_norm: float
) -> NDArray[np.float64]:
    """What the sealed sum says of the sites together: their mean delta, or a step along their mean gradient."""
    if plan.grid is None:
        return np.average([each.values.astype(np.float64) for each in rounds], axis=0, weights=units)
    total = np.sum([each.values for each in rounds], axis=0).astype(np.float64)
    gradients = total[: len(total) - plan.votes]
    return np.asarray(-gradients * (clip_norm / plan.grid.grid_steps / plan.expected_batch(sum(units))))


def _heldout(recipe: Recipe, model: AdaptedModel, sites: Sequence[SiteData]) -> float:
    size, objective = recipe.training.micro_batch_size, objective_of(recipe)
    return fmean(heldout_loss(model, objective, site.heldout, size).mean for site in sites)


if __name__ == "__main__":
    main()
