"""What a site's data sets have spent and may still spend, and what a recipe would cost before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sealora_client.budget.admission import PlannedPart, admission, runs_in_lifetime
from sealora_client.data.fingerprint import DataSet
from sealora_client.data.load import read_records_of
from sealora_client.ledger import ChargeRow, DataSetRow, Ledger
from sealora_client.ledger.state import ChargeState
from sealora_client.site.config import SiteConfig
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import PolicyError
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.plan import Part
from sealora_common.privacy.several_sites import at_several_sites
from sealora_common.recipe import Recipe
from sealora_common.recipe.sections.data import Unit
from sealora_common.roster import Roster

_SINCE = {
    "": "restored from an export",
    "nothing": "restored from an export, as nothing had left since",
    "known-runs": "restored from an export, with all that runs could yet take written off",
}


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class SpentOnDataSet(_Figures):
    """One data set that was charged. Epsilons are at the report's delta and bound what any of its members lost."""

    fingerprint: str
    unit: Unit
    size: int
    """Number of units."""
    part: Part | None
    """What the site's data file holds it as now; null: it is an earlier state of the data, or other data."""
    first_charged: str
    spent: float
    """As the limit is enforced; infinite (null in JSON) if anything was charged that adds no noise."""
    left: float
    open: int
    """Charges of this data set itself that were neither released nor settled nor voided."""
    released: int
    settled: int


class ChargeLine(_Figures):
    """One charge."""

    entry: int
    created: str
    dataset: str
    run: str
    round: int
    noise_multiplier: float
    sample_rate: float
    steps: int
    noise: str
    units: int
    delta: float
    epsilon_limit: float | None
    state: ChargeState
    """A voided charge costs nothing: nothing left under it, and nothing can."""
    since: str
    """When it came into that state."""
    repeats: int
    insecure: bool


class PlannedCost(_Figures):
    """What a recipe would cost one part of the site's data. Epsilons are at the recipe's delta."""

    part: Part
    fingerprint: str
    unit: Unit
    size: int
    noise_multiplier: float
    rounds: int
    """Of training, or evaluations, that the run may take: those of the recipe and the spare ones."""
    one_round: float
    whole_run: float
    spent: float
    """At present, by charges that count against this data set."""
    after_run: float
    rounds_left: int
    """How many still fit under the policy's limit."""


class SeveralSites(_Figures):
    """The promise to somebody who is in the data of several sites. The recipe's is each site's own."""

    sites: int
    epsilon: float
    """Of all that these sites release about them, at the recipe's delta; infinite (null in JSON) if none is known."""


class Plan(_Figures):
    """What a recipe would cost."""

    recipe: str
    epsilon: float
    """What the recipe promises, each site to its own data."""
    delta: float
    expected_epochs: float
    """How often a training record is expected to be drawn in the whole run."""
    roster_size: int
    parts: tuple[PlannedCost, ...]
    """Empty if the recipe has no privacy mechanism: nothing would be charged."""
    refused: str | None
    """Why this site would refuse the run or its end; null if it would not."""
    runs: int | None
    """How many such runs the policy's limit allows over the data's lifetime, those that were charged included."""
    several_sites: SeveralSites | None


class BudgetReport(_Figures):
    """All of it."""

    site: str
    delta: float
    """The policy's `delta_limit`."""
    epsilon_limit: float
    datasets: tuple[SpentOnDataSet, ...]
    history: tuple[ChargeLine, ...]
    plan: Plan | None
    notes: tuple[str, ...]
    """What a person should know about the ledger besides."""


@dataclass(frozen=True)
class RecipeAtSite:
    """A recipe and what it would find at the site."""

    recipe: Recipe
    train: DataSet
    heldout: DataSet
    roster: Roster | None

    @classmethod
    def read(cls, directory: Path, config: SiteConfig, recipe: Recipe) -> RecipeAtSite:
        """Reads the site's records as the recipe says, and its roster if it has one.

        Raises:
            DataError: the records cannot be used.
            PolicyError: the roster cannot.
        """
        records = read_records_of(directory / config.data, recipe)
        roster_file = directory / "roster.json"
        return cls(
            recipe=recipe,
            train=records.train_set,
            heldout=records.heldout_set,
            roster=Roster.load(roster_file, coordinator=config.coordinator) if roster_file.exists() else None,
        )

    @property
    def roster_size(self) -> int:
        """Sites of the roster; before there is one, the fewest that the recipe runs with."""
        return self.recipe.sites.minimum if self.roster is None else len(self.roster)


def budget_report(
    ledger: Ledger, site: str, policy: SitePolicy, at_site: RecipeAtSite | None, sites: int = 2
) -> BudgetReport:
    """Reads the ledger and works out what is spent, what is left, and what the recipe would cost.

    Args:
        ledger: the site's.
        site: its name.
        policy: its policy.
        at_site: the recipe and the data it would find; None for no plan.
        sites: the promise to somebody in the data of so many sites is worked out as well.

    Raises:
        BudgetError: the federation has fewer than `sites` sites.
        StorageError: the ledger is damaged.
    """
    parts: dict[str, Part] = {}
    if at_site is not None:
        heldout, train = at_site.heldout, at_site.train
        parts = {heldout.fingerprint: "heldout", heldout.name_of_rows: "heldout"}
        parts |= {train.fingerprint: "train", train.name_of_rows: "train"}
    charges = ledger.charges()
    datasets = tuple(_spent_on(ledger, row, charges, parts.get(row.fingerprint), policy) for row in ledger.datasets())
    return BudgetReport(
        site=site,
        delta=policy.delta_limit,
        epsilon_limit=policy.epsilon_limit,
        datasets=datasets,
        history=tuple(_line(row) for row in charges),
        plan=None if at_site is None else _plan(ledger, policy, at_site, sites),
        notes=tuple(_notes(ledger, charges)),
    )


def _spent_on(
    ledger: Ledger, row: DataSetRow, charges: Sequence[ChargeRow], part: Part | None, policy: SitePolicy
) -> SpentOnDataSet:
    events = [charge.event for charge in ledger.charges(row.fingerprint)]
    own = [charge for charge in charges if charge.dataset == row.fingerprint]
    spent = epsilon_pld(events, policy.delta_limit)
    return SpentOnDataSet(
        fingerprint=row.fingerprint,
        unit=row.unit,
        size=row.size,
        part=part,
        first_charged=row.created,
        spent=spent,
        left=max(0.0, policy.epsilon_limit - spent),
        open=sum(charge.is_open for charge in own),
        released=sum(charge.released is not None for charge in own),
        settled=sum(charge.settled is not None for charge in own),
    )


def _line(row: ChargeRow) -> ChargeLine:
    return ChargeLine(
        entry=row.id,
        created=row.created,
        dataset=row.dataset,
        run=row.run,
        round=row.round_number,
        noise_multiplier=row.event.noise_multiplier,
        sample_rate=row.event.sample_rate,
        steps=row.event.steps,
        noise=row.event.noise,
        units=row.event.grid_steps,
        delta=row.delta,
        epsilon_limit=row.epsilon_limit,
        state=row.state,
        since=row.since,
        repeats=row.repeats,
        insecure=row.insecure,
    )


def _plan(ledger: Ledger, policy: SitePolicy, at_site: RecipeAtSite, sites: int) -> Plan:
    recipe, size = at_site.recipe, at_site.roster_size
    judged = admission(ledger, policy, recipe, size, at_site.train, at_site.heldout)
    refused = judged.refused
    try:
        if at_site.roster is not None:
            policy.check(recipe, at_site.roster)
    except PolicyError as error:
        refused = str(error)
    several = at_several_sites(recipe, size, sites) if judged.parts else None
    return Plan(
        recipe=recipe.name,
        epsilon=recipe.privacy.epsilon,
        delta=recipe.privacy.delta,
        expected_epochs=recipe.expected_epochs,
        roster_size=size,
        parts=tuple(map(_cost, judged.parts)),
        refused=refused,
        runs=runs_in_lifetime(recipe, size, policy.epsilon_limit) if judged.parts else None,
        several_sites=None if several is None else SeveralSites(sites=several.sites, epsilon=several.epsilon),
    )


def _cost(part: PlannedPart) -> PlannedCost:
    return PlannedCost(
        part=part.part,
        fingerprint=part.dataset.fingerprint,
        unit=part.dataset.unit,
        size=len(part.dataset),
        noise_multiplier=part.event.noise_multiplier,
        rounds=part.rounds,
        one_round=part.one_round,
        whole_run=part.whole_run,
        spent=part.spent,
        after_run=part.after_run,
        rounds_left=part.rounds_left,
    )


def _notes(ledger: Ledger, charges: Sequence[ChargeRow]) -> list[str]:
    notes = []
    for mark in ledger.marks():
        what = _SINCE[mark.since] if mark.kind == "restore" else f"accepted as it was ({mark.reason})"
        notes.append(f"entry {mark.number}, {mark.created}: the ledger was {what}")
    if backwards := ledger.backwards():
        numbers = ", ".join(str(number) for number in backwards[:10]) + (", ..." if len(backwards) > 10 else "")
        notes.append(f"the clock was set back before entries {numbers}: their order is by number, times may mislead")
    if insecure := sum(row.insecure for row in charges):
        notes.append(f"{insecure} charges were made under SEALORA_INSECURE_SEED: their noise protects nothing")
    return notes
