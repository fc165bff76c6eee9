"""Simulated sites without a model: each pulls the adapter towards a place of its own, and measures how far it is.

Quick, and exact to think about: the figure of a site is the squared distance of the adapter to its place, plus what its
held-out records add. It stands in for the installed site package where a comparison's own work is looked at.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout, TensorSpec
from sealora_common.recipe import Recipe, parse_recipe
from sealora_common.round.contribution import Contribution, site_weight
from sealora_common.round.unsealed import Party, SiteHeldout, UnsealedAnswer, UnsealedOrder

UNITS = {"a": 100, "b": 200, "c": 300}
PLACES = {"a": 1.0, "b": 2.0, "c": 4.0}
HELDOUT = {"a": 20, "b": 40, "c": 10}


def recipe_of(text: str = "", **sections: object) -> Recipe:
    """A recipe for these sites; `sections` replace its own."""
    value = {
        "name": "linear",
        "rounds": 3,
        "model": {"base": "nowhere"},
        "training": {"sample_rate": 0.1, "steps_per_round": 1, "optimizer": "sgd", "learning_rate": 0.5},
        "privacy": {"mechanism": "local"},
        "sealing": {"clip_range": 8.0, "weight_cap": 300},
        "sites": {"simulated": {name: f"{name}.jsonl" for name in UNITS}},
    }
    return parse_recipe(text or yaml.safe_dump(value | sections))


class LinearSites:
    """As `UnsealedSites`; also counts what it is asked."""

    names = tuple(UNITS)
    layout = AdapterLayout((TensorSpec("m.lora_A.weight", (2, 8)), TensorSpec("m.lora_B.weight", (4, 2))))
    trained_elsewhere = 0

    def __init__(self, digest: str = "records", spread: float = 0.0, diverged: str = "") -> None:
        self.digest = digest
        self.spread = spread
        self.diverged = diverged
        self.asked: list[tuple[Party, UnsealedOrder]] = []
        self.measured = 0

    def units(self, party: Party) -> int:
        return sum(UNITS[site] for site in party)

    def heldout_units(self, site: str) -> int:
        return HELDOUT[site]

    def answer(self, party: Party, order: UnsealedOrder, adapter: NDArray[np.float32]) -> UnsealedAnswer:
        self.asked.append((party, order))
        place = sum(PLACES[site] * UNITS[site] for site in party) / self.units(party)
        noise = self.spread * np.frombuffer(order.entropy(party, "training").bytes(8), dtype=np.uint8) / 256
        values = (order.recipe.training.learning_rate * (place + noise - adapter)).astype(np.float32)
        values = values if order.purpose == "train" else values[:0]
        told = float(np.square(place - adapter).mean())
        return UnsealedAnswer(Contribution(values, site_weight(order.recipe, self.units(party)), told), 1.0)

    def heldout(self, adapter: NDArray[np.float32]) -> tuple[SiteHeldout, ...]:
        self.measured += 1
        return tuple(self._heldout(name, adapter) for name in self.names)

    def _heldout(self, name: str, adapter: NDArray[np.float32]) -> SiteHeldout:
        own = float(np.square(PLACES[name] - adapter).mean()) + np.linspace(0, 1, HELDOUT[name])
        return SiteHeldout(name, float("inf") if name == self.diverged and self.asked else float(own.mean()), own)


class SimulatedLinearSites:
    """As `SimulatedSites`, of which comparisons and tunings ask no more."""

    def __init__(self, sites: LinearSites, *, is_demo: bool = False) -> None:
        self.sites = sites
        self.is_demo = is_demo

    def holds_demo_data(self, recipe: Recipe) -> bool:
        return self.is_demo

    def check(self, recipe: Recipe) -> None:
        pass

    def resolve(self, recipe: Recipe) -> Recipe:
        return recipe.with_model_digest("0" * 64)

    def unsealed(self, recipe: Recipe) -> LinearSites:
        return self.sites


def write_recipe(directory: Path, recipe: Recipe) -> Path:
    path = directory / "linear.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    return path
