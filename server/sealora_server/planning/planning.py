"""What a plan is made of: units of each site, numbers of the adapter, time on this machine, where gradients lie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sealora_common.adapter import AdapterLayout
from sealora_common.errors import RecipeError, SealoraError
from sealora_common.privacy.noise_law import Outlook, outlook
from sealora_common.recipe import Recipe
from sealora_common.records.site_time import SiteTime
from sealora_common.show.safe_text import safe_text
from sealora_server.planning.gradients import gradient_shares
from sealora_server.simulation.sites import simulated_sites

_MOST_SITES = 1000
_MOST_UNITS = 10**12


class PlannedRun(BaseModel):
    """What `sealora plan` tells."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    outlook: Outlook
    times: tuple[SiteTime, ...] | None
    """Of each site, one after the other; null: not asked for, or not to be had."""
    gradient_shares: Mapping[str, float] | None
    """Of each part of the layers, see `gradients.gradient_shares`; null: not asked for, or not to be had."""
    left_out: tuple[str, ...]
    """What is not told, why, and what to do."""


@dataclass(frozen=True)
class Planning:
    """A plan that was asked for.

    Attributes:
        recipe: with overrides applied.
        records: training records of each site as they were typed, also several in one text; empty: those of
            `sites.simulated` are counted.
        persons: the same, where persons are the recipe's unit.
        sites: how many there are if one number is for all; None: those of `sites.simulated`, or `sites.minimum`.
        parameters: that a round trains; None: the base model is asked, if it is here.
        timed: whether a piece of a round is tried.
        located: whether one step on the sites' records tells where their gradients lie.
    """

    recipe: Recipe
    records: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    sites: int | None = None
    parameters: int | None = None
    timed: bool = False
    located: bool = False

    def planned(self) -> PlannedRun:
        """Works it out.

        Raises:
            SealoraError: an option is no use, a file cannot be, or nobody can run the recipe like this.
        """
        units = self._units()
        adapter, left_out = self._adapter(), []
        if adapter is None:
            left_out.append(
                f"The base model {self.recipe.model.base} is not here, so how many parameters are trained is not "
                "known: give --parameters."
            )
        found = outlook(self.recipe, tuple(units.values()), tuple(units), adapter)
        times = simulated_sites().times(self.recipe, units) if self.timed else None
        if self.timed and times is None:
            left_out.append(
                "The time is left out: a trial takes the base model and the file of a site in sites.simulated, and "
                "one of them is not here."
            )
        shares = self._gradient_shares() if self.located else None
        if self.located and shares is None:
            left_out.append(
                "Where gradients lie is left out: a step takes the base model and the files of all sites in "
                "sites.simulated, and one of them is not here."
            )
        return PlannedRun(
            outlook=found,
            times=None if times is None else tuple(times),
            gradient_shares=shares,
            left_out=tuple(left_out),
        )

    def _units(self) -> Mapping[str, int]:
        """Units of each site, by name."""
        option, other = ("persons", "records") if self.recipe.data.unit == "person" else ("records", "persons")
        if getattr(self, other):
            why = f"{self.recipe.data.person_field!r}" if option == "persons" else "left out"
            raise RecipeError(
                f"--{other}: the recipe's unit of privacy is a {self.recipe.data.unit} (data.person_field is {why}): "
                f"give --{option}"
            )
        typed = [count for text in getattr(self, option) for count in _numbers(option, text)]
        names = list(self.recipe.sites.simulated)
        if not typed:
            return self._counted(option)
        if len(typed) == 1:
            typed *= self.sites or len(names) or self.recipe.sites.minimum
        elif self.sites not in (None, len(typed)):
            raise RecipeError(
                f"--sites is {self.sites}, but --{option} has {len(typed)} numbers: give one for all, or one for each"
            )
        if len(typed) > _MOST_SITES:
            raise RecipeError(f"--{option}: there are {len(typed)} sites: {_MOST_SITES} is the most")
        if len(typed) != len(names):
            names = [f"site {number}" for number in range(1, len(typed) + 1)]
        return dict(zip(names, typed, strict=True))

    def _counted(self, option: str) -> Mapping[str, int]:
        names = self.recipe.sites.simulated
        if self.sites is not None:
            raise RecipeError(f"--sites says for how many sites --{option} is: give that as well")
        if not names:
            raise RecipeError(f"--{option}: sites.simulated names no files to count: say how many each site trains on")
        found = simulated_sites().units(self.recipe)
        absent = [name for name in names if name not in found]
        if absent:
            raise RecipeError(
                f"sites.simulated: the file of {absent[0]} ({names[absent[0]]}) is not here to be counted: say with "
                f"--{option} how many each site trains on"
            )
        return found

    def _adapter(self) -> AdapterLayout | int | None:
        if self.parameters is not None:
            return self.parameters
        try:
            sites = simulated_sites()
        except SealoraError:  # a coordinator need not have the site package
            return None
        return sites.outlined_layout(self.recipe)

    def _gradient_shares(self) -> Mapping[str, float] | None:
        sites = simulated_sites()
        files = [Path(path) for path in self.recipe.sites.simulated.values()]
        if not files or not all(path.exists() for path in files) or sites.outlined_layout(self.recipe) is None:
            return None
        return gradient_shares(sites.unsealed(self.recipe), self.recipe)


def _numbers(option: str, text: str) -> list[int]:
    parts = [part for part in re.split(r"[\s,;]+", text) if part]
    if not parts or not all(re.fullmatch(r"[0-9]{1,13}", part) and 1 <= int(part) <= _MOST_UNITS for part in parts):
        raise RecipeError(
            f"--{option}: {safe_text(text, 40)!r} is no list of numbers: give whole numbers of 1 or more, as in "
            f"--{option} 2900,2371,3558 or --{option} 2900 --{option} 2371"
        )
    return [int(part) for part in parts]
