"""Whether the recipe's noise leaves anything of as many records as this site has."""

from __future__ import annotations

from collections.abc import Iterator

from sealora_client.check.workload import Workload
from sealora_client.model.adapted import AdaptedModel
from sealora_common.errors import SealoraError
from sealora_common.health.finding import Finding, warned
from sealora_common.privacy.noise_law import drowned, trained_parameters
from sealora_common.recipe import Recipe


def check_noise(recipe: Recipe, model: AdaptedModel, workload: Workload, roster_size: int) -> Iterator[Finding]:
    """A warning if noise drowned the records, had all sites as many as this one, which knows no other's number.

    Where the noise cannot be planned at all there is nothing: the trial of a round says so.
    """
    units, noun = len(workload.train), f"{recipe.data.unit}s"
    condition = (
        f"a step draws {recipe.training.sample_rate * units:.2g} of them on average, and with as many {noun} at each "
        f"of {roster_size} sites "
    )
    try:
        parameters = trained_parameters(recipe, model.layout)
        said = drowned(recipe, [units] * roster_size, parameters, condition=condition)
    except SealoraError:
        return
    if said is not None:
        yield warned("records", said)
