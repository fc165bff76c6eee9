"""A comparison's sites alone beside a finished simulation of the same recipe and records: in its summary and report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sealora_common.errors import DataError
from sealora_common.recipe import Recipe
from sealora_common.records.outcome import read_outcome
from sealora_common.show.quantities import count_text, names_text
from sealora_common.storage.durable import write_atomically
from sealora_server.comparison.comparison import ArmFigures, Comparison
from sealora_server.view.outcome import write_outcome
from sealora_server.view.site_only import SITE_ONLY, AloneSite, SiteOnly
from sealora_server.view.summary import Summary, summarize


def require_same(recipe: Recipe, units: Mapping[str, int], run_dir: Path) -> None:
    """That the run was of what is compared, as far as its directory tells.

    Args:
        recipe: that is compared, bound to its base model.
        units: records (persons) that each site trains on.
        run_dir: the run's.

    Raises:
        StorageError: there is no run there.
        DataError: it is another recipe's, has not finished, or trained on other records, or was no simulation.
    """
    why = _why_not(recipe, units, summarize(run_dir))
    if why is not None:
        raise DataError(f"--into {run_dir}: {why}")


def tell_run(found: Comparison, run_dir: Path) -> None:
    """Writes what the sites came to alone beside the run, and its summary and report with it.

    Args:
        found: a comparison of the run's recipe and records, see `require_same`.
        run_dir: the run's.

    Raises:
        StorageError: a file could not be written.
        DataError: the comparison lacks a site alone, or one has diverged.
    """
    told = SiteOnly(seeds=found.seeds, sites=tuple(_alone(found)))
    write_atomically(run_dir / SITE_ONLY, told.model_dump_json(indent=2).encode() + b"\n")
    before = read_outcome(run_dir)
    write_outcome(run_dir, None if before is None else before.epsilon_at_two_sites)


def _why_not(recipe: Recipe, units: Mapping[str, int], run: Summary) -> str | None:
    if run.status != "finished":
        return "the run has not finished: let it finish first"
    if not any(site.records is not None for site in run.sites):
        return "sites' own figures are at the sites, as the run was no simulation: give a simulation's directory"
    if run.recipe_hash != recipe.hash:
        return f"its recipe is {run.recipe_hash[:12]} and this one {recipe.hash[:12]}: give the recipe that the run had"
    ran = sorted(site.name for site in run.sites)
    if ran != sorted(units):
        return f"its sites are {names_text(ran)}, and this recipe's {names_text(sorted(units))}: give the run's recipe"
    for site in run.sites if recipe.data.unit == "record" else ():
        if site.records is not None and site.records != units[site.name]:
            return (
                f"{site.name} trained on {count_text(site.records, 'record')} in the run and has {units[site.name]} "
                "now: simulate once more"
            )
    return None


def _alone(found: Comparison) -> list[AloneSite]:
    arms = {arm.key.removeprefix("alone-"): arm for arm in found.arms if arm.kind == "alone"}
    return [_of_site(site.name, arms.get(site.name)) for site in found.sites]


def _of_site(name: str, arm: ArmFigures | None) -> AloneSite:
    own = None if arm is None else arm.by_site[name]
    if arm is None or arm.mean is None or own is None:
        why = "was left out by --only" if arm is None else "has diverged"
        raise DataError(f"--into takes what every site comes to alone, and {name} {why}")
    return AloneSite(name=name, figure=arm.mean, own_figure=own)
