"""What a recipe's work at its simulated sites takes on this machine, by a trial of a small piece of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from sealora_client.check.dry_run import Clock, try_round
from sealora_client.check.workload import Workload
from sealora_client.model.adapted import adapted_model
from sealora_client.model.fetch import is_here
from sealora_common.recipe import Recipe
from sealora_common.records.site_time import SiteTime


def site_times(recipe: Recipe, units: Mapping[str, int], clock: Clock = time.perf_counter) -> list[SiteTime] | None:
    """The time of each site with so many units. Nothing is fetched or charged, and nothing leaves.

    A site whose file is not here is taken to have records as long as those of the first whose file is.

    Args:
        recipe: names the files.
        units: of each site, by name.
        clock: in seconds.

    Returns:
        In the order of `units`; None if the base model is not here, or no file is.

    Raises:
        DataError: a site's records cannot be used.
        ModelError: the model cannot be, with this recipe.
    """
    files = {name: Path(path) for name, path in recipe.sites.simulated.items() if Path(path).exists()}
    if not files or not is_here(recipe.model):
        return None
    model = adapted_model(recipe)
    first, *_ = files
    workloads = {first: Workload.read(files[first], recipe, model)}
    with model.lock:
        trial = try_round(recipe, model, workloads[first], len(units), clock)
    times = []
    for name, count in units.items():
        known = name if name in files else first
        if known not in workloads:
            workloads[known] = Workload.read(files[known], recipe, model)
        step = trial.step_seconds(recipe, workloads[known], count)
        evaluation = trial.evaluation_seconds(recipe, workloads[known])
        times.append(
            SiteTime(
                site=name,
                step=step,
                round=trial.round_seconds(recipe, workloads[known], count),
                run=recipe.steps * step + recipe.accounted_evaluations * evaluation,
            )
        )
    return times
