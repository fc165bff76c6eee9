"""What a simulation needs of the site package, found by its entry point: the server never imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from sealora_common.adapter import AdapterLayout, Tensors
from sealora_common.errors import SealoraError
from sealora_common.recipe import Recipe
from sealora_common.records.attacks.memorisation import AttackedAdapter, Planting
from sealora_common.records.audits import RocSummary
from sealora_common.records.completions import Completion
from sealora_common.records.names import SITES
from sealora_common.records.site_time import SiteTime
from sealora_common.roster import Roster
from sealora_common.round.unsealed import Party, SiteHeldout, UnsealedAnswer, UnsealedOrder
from sealora_server.run.store import RunStore

CLIENT_APP = "sealora_client.app:app"


class UnsealedSitesLike(Protocol):
    """See `sealora_client.unsealed_sites.UnsealedSites`."""

    names: tuple[str, ...]
    layout: AdapterLayout

    @property
    def digest(self) -> str: ...
    @property
    def trained_elsewhere(self) -> int: ...
    def units(self, party: Party) -> int: ...
    def heldout_units(self, site: str) -> int: ...
    def answer(self, party: Party, order: UnsealedOrder, adapter: NDArray[np.float32]) -> UnsealedAnswer: ...
    def heldout(self, adapter: NDArray[np.float32]) -> tuple[SiteHeldout, ...]: ...


class PlantedSitesLike(UnsealedSitesLike, Protocol):
    """See `sealora_client.memorisation.planted_sites.PlantedSites`."""

    attacker: str

    def attack(self, adapter: NDArray[np.float32]) -> AttackedAdapter: ...
    @staticmethod
    def separation(members: NDArray[np.float64], others: NDArray[np.float64]) -> RocSummary: ...


class AnswersLike(Protocol):
    """See `sealora_client.trained.answers.Answers`."""

    def to(self, prompts: Sequence[str], *, most_tokens: int, temperature: float = 0.0, seed: int = 0) -> list[str]: ...


class SimulatedSitesLike(Protocol):
    """See `sealora_client.simulated.SimulatedSites`."""

    @staticmethod
    def check(recipe: Recipe) -> None: ...
    @staticmethod
    def units(recipe: Recipe) -> dict[str, int]: ...
    @staticmethod
    def outlined_layout(recipe: Recipe) -> AdapterLayout | None: ...
    @staticmethod
    def times(recipe: Recipe, units: Mapping[str, int]) -> list[SiteTime] | None: ...
    @staticmethod
    def resolve(recipe: Recipe) -> Recipe: ...
    @staticmethod
    def unsealed(recipe: Recipe) -> UnsealedSitesLike: ...
    @staticmethod
    def holds_demo_data(recipe: Recipe) -> bool: ...
    @staticmethod
    def planted(recipe: Recipe, planting: Planting) -> PlantedSitesLike: ...
    @staticmethod
    def prepare(recipe: Recipe, directory: Path, server_key: bytes) -> Roster: ...
    @staticmethod
    def epsilon_at_two_sites(recipe: Recipe) -> float | None: ...
    @staticmethod
    def dossier_part(directory: Path, run: str, out: Path, audit: Path | None) -> bool: ...
    @staticmethod
    def completions(
        recipe: Recipe, directory: Path, final: Tensors, count: int, start: Tensors | None = None, *, lot: str = ""
    ) -> list[Completion]: ...
    @staticmethod
    def answers(run: Path) -> AnswersLike: ...
    @staticmethod
    def export(run: Path, out: Path, *, merged: bool, base_name: str | None, licence: str) -> str: ...


def simulated_sites() -> SimulatedSitesLike:
    """The installed site package's part in a simulation.

    Raises:
        SealoraError: no site package is installed.
    """
    for point in entry_points(group="sealora.simulated_sites"):
        loaded: SimulatedSitesLike = point.load()
        return loaded
    raise SealoraError("this needs the site package on this machine: pip install 'sealora[sim]'")


def resolved(sites: SimulatedSitesLike, recipe: Recipe, console: Console) -> Recipe:
    """The recipe bound to its base model, which is fetched if it is not there yet, and to records that it can use.

    Args:
        sites: the site package's part.
        recipe: to be bound.
        console: told what takes long.

    Raises:
        SealoraError: the model or a site's records cannot be used with it.
    """
    sites.check(recipe)
    console.print(f"Base model {recipe.model.base}: fetching it if it is not here yet", highlight=False, soft_wrap=True)
    with console.status("reading the sites' records"):
        return sites.resolve(recipe)


def prepare_sites(sites: SimulatedSitesLike, store: RunStore) -> Roster:
    """Makes the site directories of a run, and writes the roster they share to the run's directory."""
    roster = sites.prepare(store.recipe, store.directory / SITES, store.server_identity().public_key)
    roster.save(store.directory / "roster.json")
    return roster
