"""The adapter that a site trained for itself, measured beside the federation's: see `sealora-site personalise`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealora_client.site.config import SiteConfig
from sealora_client.site_evaluation.evaluation import BesideAdapter
from sealora_client.trained.trained_adapter import find_trained
from sealora_common.adapter import Tensors
from sealora_common.errors import PolicyError
from sealora_common.export.personal import read_personal
from sealora_common.recipe import Recipe

_ALIKE = ("model", "lora", "data", "objective", "evaluation")
"""Sections of the recipe without which two adapters are not measured alike."""


@dataclass(frozen=True)
class OwnAdapter:
    """What is measured beside the run's adapter.

    Attributes:
        tensors: all of the adapter's.
        told: what is said of it.
    """

    tensors: Tensors
    told: BesideAdapter


def own_adapter(directory: Path, site: Path, recipe: Recipe) -> OwnAdapter:
    """The one in a directory.

    Args:
        directory: that `sealora-site personalise` made.
        site: the site's.
        recipe: of the run that it is measured beside.

    Raises:
        PolicyError: it is none that the site trained for itself, or of another recipe.
        ModelError: a file of it is damaged.
    """
    mark = read_personal(directory)
    name = SiteConfig.load(site / "site.yaml").name
    if mark.site != name:
        raise PolicyError(
            f"{directory}: was made by {mark.site}, and this is {name}: make one with sealora-site personalise"
        )
    trained = find_trained(str(directory), site)
    run, own = recipe.model_dump(mode="json"), trained.recipe.model_dump(mode="json")
    others = [section for section in _ALIKE if run[section] != own[section]]
    if others:
        raise PolicyError(
            f"{directory}: was made of a recipe that differs in {', '.join(others)}: make one of this run's, with "
            "sealora-site personalise"
        )
    title = "this site alone" if mark.is_alone else "trained further here"
    return OwnAdapter(
        trained.tensors, BesideAdapter(title=title, digest=trained.digest, steps=mark.steps, units=mark.units)
    )
