"""`sealora.plan`: what noise leaves of so many records, before anybody trains."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealora.arguments import flag, whole_number
from sealora.at_work import at_work, without_options
from sealora.frames import data_frame, html_table
from sealora.recipes import RecipeLike, load_recipe
from sealora.records import RecordsBySite, sites_of, with_records
from sealora_common.errors import SealoraError
from sealora_common.privacy.noise_law import Choice
from sealora_common.recipe import Recipe
from sealora_common.show.quantities import count_text, epsilon_text, target_text
from sealora_server.planning.planning import PlannedRun, Planning

if TYPE_CHECKING:
    import pandas as pd

_MOST_SITES: Final = 1000
_MOST: Final = 10**12


class RunPlan:
    """What `plan` tells.

    Attributes:
        planned: all of it, as `sealora plan --json` has it.
    """

    def __init__(self, planned: PlannedRun) -> None:
        self.planned = planned

    @property
    def advice(self) -> str:
        """What to do, in a sentence."""
        return self.planned.outlook.advice

    @property
    def warning(self) -> str | None:
        """What is wrong with the recipe for so many records; None if nothing is."""
        return self.planned.outlook.warning

    def table(self) -> pd.DataFrame:
        """The recipe's own choice of rounds, steps and sample rate, and what the same or more compute could buy.

        Columns: `what` (`now` for the recipe's own, `take` for the recommended one), `compute`, `rounds`,
        `steps_per_round`, `sample_rate`, `expected_units` (records or persons that a step draws), `noise_multiplier`,
        `noise_in_units`, `worth_at_best`, `worth`. Units are in `attrs["units"]`.

        Raises:
            SealoraError: pandas is not installed.
        """
        found = self.planned.outlook
        rows = [
            {
                "what": self._mark(choice),
                "compute": choice.compute,
                "rounds": choice.rounds,
                "steps_per_round": choice.steps_per_round,
                "sample_rate": choice.sample_rate,
                "expected_units": choice.expected_units,
                "noise_multiplier": choice.noise_multiplier,
                "noise_in_units": choice.noise_in_units,
                "worth_at_best": choice.worth_at_best,
                "worth": choice.worth,
            }
            for choice in (found.own, *found.alternatives)
        ]
        columns = {"what": "", "compute": "times the recipe's", "rounds": "", "steps_per_round": "", "sample_rate": ""}
        columns |= {"expected_units": f"{found.unit}s a step", "noise_multiplier": "", "noise_in_units": "C/N"}
        columns |= dict.fromkeys(("worth_at_best", "worth"), "steps without noise")
        return data_frame(rows, columns)

    def layers(self) -> pd.DataFrame:
        """Each part of the layers, were it trained alone, the smallest first.

        Columns: `layers` (as `lora.target_modules` names them), `parameters`, `worth`, `pays_from` (the share of the
        mean gradient's squared length from which on it pays to train them alone), `holds` (the share that they hold;
        NaN without `gradients`). Units are in `attrs["units"]`. No row where there is one part, or the adapter is not
        known.

        Raises:
            SealoraError: pandas is not installed.
        """
        shares = self.planned.gradient_shares
        rows = [
            {
                "layers": part.name,
                "parameters": part.parameters,
                "worth": part.worth,
                "pays_from": part.pays_from,
                "holds": float("nan") if shares is None else shares.get(part.name, 0.0),
            }
            for part in self.planned.outlook.layers
        ]
        columns = {
            "layers": "",
            "parameters": "",
            "worth": "steps without noise",
            "pays_from": "share",
            "holds": "share",
        }
        return data_frame(rows, columns)

    def __repr__(self) -> str:
        return f"<sealora.RunPlan of {self.planned.outlook.recipe!r}: {self.advice}>"

    def _repr_html_(self) -> str:
        found = self.planned.outlook
        columns = ("", "compute", "rounds", "steps of each", "q", "a step draws", "noise, C/N", "worth as a rule")
        rows = [
            (
                self._mark(choice),
                f"{choice.compute:g} x",
                str(choice.rounds),
                str(choice.steps_per_round),
                f"{choice.sample_rate:g}",
                f"{choice.expected_units:,.3g}",
                f"{choice.noise_in_units:.3g}",
                f"{choice.worth:.3g}",
            )
            for choice in (found.own, *found.alternatives)
        ]
        notes = [*found.notes, *map(without_options, self.planned.left_out)]
        notes += [] if found.warning is None else [f"Warning: {found.warning}."]
        privacy = "no privacy"
        if found.delta is not None:
            spent = [epsilon_text(each) for each in (found.epsilon_training, found.epsilon_evaluations)]
            privacy = f"epsilon {spent[0]} by training, {spent[1]} by evaluations, at delta {target_text(found.delta)}"
        title = f"{found.recipe}: {found.mechanism}, {count_text(len(found.sites), 'site')}, {privacy}"
        return html_table(title, columns, rows, [*notes, found.advice])

    def _mark(self, choice: Choice) -> str:
        found = self.planned.outlook
        return "now" if choice == found.own else "take" if choice == found.recommended else ""


def plan(
    recipe: RecipeLike,
    records: RecordsBySite | Mapping[str, int] | Sequence[int] | int | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    sites: int | None = None,
    parameters: int | None = None,
    time: bool = False,
    gradients: bool = False,
) -> RunPlan:
    """Works out what noise leaves of so many records, what a run costs, and what would be better for the same compute.

    Args:
        recipe: a recipe, the path of one in YAML, or its sections as a mapping.
        records: each site's training records (persons, where the recipe names them): the records by site as for
            `simulate`, which are counted, numbers by site, a list of numbers, or one number for all sites. None counts
            the files that the recipe names.
        overrides: fields of the recipe that are different.
        sites: how many there are, where one number is for all.
        parameters: how many are trained; None asks the base model, if it is here.
        time: try a piece of a round on this machine, to tell how long all will take.
        gradients: take one step on the sites' records, to tell in which layers their gradients lie.

    Raises:
        SealoraError: something that can be mended, in one sentence.
    """
    parsed = load_recipe(recipe, overrides)
    count = None if sites is None else whole_number("sites", sites, 1, _MOST_SITES)
    trained = None if parameters is None else whole_number("parameters", parameters, 1, _MOST)
    timed, located = flag("time", time), flag("gradients", gradients)

    def planned(named: Recipe, units: tuple[int, ...] = ()) -> RunPlan:
        texts = tuple(map(str, units))
        of_each = {"persons" if named.data.unit == "person" else "records": texts}
        return RunPlan(
            Planning(named, **of_each, sites=count, parameters=trained, timed=timed, located=located).planned()
        )

    with at_work():
        if not _is_in_memory(records):
            return planned(*_counted(parsed, records))
        # Counted as sites count them: by layout, part and person, from a file.
        with tempfile.TemporaryDirectory(prefix="sealora-plan-") as aside:
            return planned(with_records(parsed, records, Path(aside)))


def _is_in_memory(records: object) -> bool:
    """Whether they are records, and no numbers of them."""
    if not isinstance(records, Mapping):
        return False
    return not any(_is_number(each) for each in records.values())


def _counted(recipe: Recipe, records: object) -> tuple[Recipe, tuple[int, ...]]:
    """The recipe with the sites that are named, and the number of units of each; none if they are to be counted."""
    if records is None:
        return recipe, ()
    if _is_number(records):
        return recipe, (_units("records", records),)
    if isinstance(records, Mapping):
        named = with_records(recipe, dict.fromkeys(sites_of(records), "-"), Path())
        return named, tuple(_units(f"records of site {site}", each) for site, each in records.items())
    if isinstance(records, str | bytes | PathLike) or not isinstance(records, Sequence):
        raise SealoraError(
            f"records is a {type(records).__name__}: give records or numbers by site, a list of numbers or one"
        )
    return recipe, tuple(_units("records", each) for each in records)


def _is_number(value: object) -> bool:
    return hasattr(value, "__index__") and not hasattr(value, "__len__")


def _units(name: str, value: object) -> int:
    return whole_number(name, value, 1, _MOST)
