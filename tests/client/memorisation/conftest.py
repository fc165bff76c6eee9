"""Planted sites on a tiny model, and an adapter that was trained on nothing but what is planted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sealora_client.memorisation.planted_sites import PlantedSites
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.records.attacks.memorisation import Planting

from tiny_federation import write_federation

FORM = {"lora": {"rank": 16, "alpha": 32.0}, "data": {"max_tokens": 80}}


@pytest.fixture(scope="session")
def tiny_recipe(tiny_base, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    """`tiny_recipe("privacy.epsilon=2")`: a recipe of three sites with eight records and more."""

    def make(*overrides: str) -> Recipe:
        directory = Path(tmp_path_factory.mktemp("planted"))
        return load_recipe(write_federation(directory, tiny_base(), records=8, **FORM), overrides)

    return make


@pytest.fixture(scope="session")
def planted_sites(tiny_recipe) -> PlantedSites:
    """Twelve secrets, planted once or three times."""
    return PlantedSites(tiny_recipe(), Planting(secrets=12, repeats=(1, 3), candidates=7, seed=0))
