"""A tiny model with its recipe and records, for audits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sealora_client.data.load import load_data
from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel, adapted_model
from sealora_common.recipe import Recipe, load_recipe

from tiny_federation import write_federation

# Without sampling the noise is calibrated at once.
_QUICK = ("training.sample_rate=1.0", "training.micro_batch_size=64", "data.max_tokens=24")


@dataclass(frozen=True)
class TinySite:
    """What an audit needs of a site."""

    model: AdaptedModel
    recipe: Recipe
    records: Population


@pytest.fixture(scope="session")
def tiny_site(tiny_base, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TinySite]:
    """`tiny_site("privacy.epsilon=2", records=24)`: overrides of a private tiny recipe, and the site's records."""

    def make(*overrides: str, records: int = 24, **sections: dict[str, Any]) -> TinySite:
        directory = Path(tmp_path_factory.mktemp("audit"))
        private = {"mechanism": "local", "epsilon": 4.0, "delta": 1e-5, **sections.pop("privacy", {})}
        path = write_federation(directory, tiny_base(), records=records, privacy=private, **sections)
        recipe = load_recipe(path, [*_QUICK, *overrides])
        model = adapted_model(recipe)
        return TinySite(model, recipe, load_data(Path(recipe.sites.simulated["site-0"]), recipe, model).train)

    return make
