"""What a site's data sets have spent and may still spend, and what a recipe would cost before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sealora_client.data.fingerprint import DataSet
from sealora_client.data.load import read_records_of
from sealora_client.ledger import ChargeRow, DataSetRow, Ledger
from sealora_client.policy import SitePolicy
from sealora_client.site_config import SiteConfig
from sealora_common.errors import BudgetError, PolicyError
from sealora_common.privacy.accounting import Mechanism, check_delta, epsilon_prv, epsilon_rdp
from sealora_common.privacy.plan import heldout_mechanism, training_mechanism
from sealora_common.recipe import Recipe
from sealora_common.recipe.schema import Unit
from sealora_common.roster import Roster

Part = Literal["train", "heldout"]


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
    """By RDP, as the limit is enforced; infinite (null in JSON) if anything was charged that adds no noise."""
    spent_prv: float
    """By PRV: the smaller bound, for statements."""
    left: float
    open: int
    """Charges of this data set itself that were neither released nor settled."""
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
    state: Literal["open", "released", "settled"]
    since: str
    """When it came into that state."""
    repeats: int
    insecure: bool


class PlannedPart(_Figures):
    """What a recipe would cost one part of the site's data. Epsilons are at the recipe's delta, by RDP."""

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


class Plan(_Figures):
    """What a recipe would cost."""

    recipe: str
    delta: float
    roster_size: int
    parts: tuple[PlannedPart, ...]
    """Empty if the recipe has no privacy mechanism: nothing would be charged."""
    refused: str | None
    """Why this site would refuse the run or its end; null if it would not."""


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


def budget_report(ledger: Ledger, site: str, policy: SitePolicy, at_site: RecipeAtSite | None) -> BudgetReport:
    """Reads the ledger and works out what is spent, what is left, and what the recipe would cost.

    Raises:
        StorageError: the ledger is damaged.
    """
    parts: dict[str, Part] = {}
    if at_site is not None:
        parts = {at_site.heldout.fingerprint: "heldout", at_site.train.fingerprint: "train"}
    history = ledger.history()
    datasets = tuple(_spent_on(ledger, row, history, parts.get(row.fingerprint), policy) for row in ledger.datasets())
    return BudgetReport(
        site=site,
        delta=policy.delta_limit,
        epsilon_limit=policy.epsilon_limit,
        datasets=datasets,
        history=tuple(_line(row) for row in history),
        plan=None if at_site is None else _plan(ledger, policy, at_site),
        notes=tuple(_notes(ledger, history)),
    )


def _spent_on(
    ledger: Ledger, row: DataSetRow, history: Sequence[ChargeRow], part: Part | None, policy: SitePolicy
) -> SpentOnDataSet:
    mechanisms = tuple(charge.mechanism for charge in ledger.history(row.fingerprint))
    own = [charge for charge in history if charge.dataset == row.fingerprint]
    spent = epsilon_rdp(mechanisms, policy.delta_limit)
    return SpentOnDataSet(
        fingerprint=row.fingerprint,
        unit=row.unit,
        size=row.size,
        part=part,
        first_charged=row.created,
        spent=spent,
        spent_prv=_prv(mechanisms, policy.delta_limit),
        left=max(0.0, policy.epsilon_limit - spent),
        open=sum(charge.is_open for charge in own),
        released=sum(charge.released is not None for charge in own),
        settled=sum(charge.settled is not None for charge in own),
    )


@lru_cache(maxsize=1024)  # seconds each; versions of growing data have the same charges against them
def _prv(mechanisms: tuple[Mechanism, ...], delta: float) -> float:
    return epsilon_prv(mechanisms, delta)


def _line(row: ChargeRow) -> ChargeLine:
    state: Literal["open", "released", "settled"] = "released" if row.released else "settled" if row.settled else "open"
    return ChargeLine(
        entry=row.id,
        created=row.created,
        dataset=row.dataset,
        run=row.run,
        round=row.round_number,
        noise_multiplier=row.mechanism.noise_multiplier,
        sample_rate=row.mechanism.sample_rate,
        steps=row.mechanism.steps,
        noise=row.mechanism.noise,
        units=row.mechanism.units,
        delta=row.delta,
        epsilon_limit=row.epsilon_limit,
        state=state,
        since=row.released or row.settled or row.created,
        repeats=row.repeats,
        insecure=row.insecure,
    )


def _plan(ledger: Ledger, policy: SitePolicy, at_site: RecipeAtSite) -> Plan:
    recipe = at_site.recipe
    delta = recipe.privacy.delta
    parts: list[PlannedPart] = []
    refused = None
    try:
        if at_site.roster is not None:
            policy.check(recipe, at_site.roster)
        if recipe.privacy.mechanism != "none":
            for dataset in (at_site.train, at_site.heldout):
                check_delta(delta, len(dataset))
        rounds = recipe.rounds + recipe.privacy.spare_rounds
        evaluations = recipe.accounted_evaluations
        train, heldout = training_mechanism(recipe, at_site.roster_size), heldout_mechanism(recipe)
        if train is not None and heldout is not None:
            parts.append(_planned(ledger, "train", at_site.train, train, rounds, delta, policy.epsilon_limit))
            parts.append(
                _planned(ledger, "heldout", at_site.heldout, heldout, evaluations, delta, policy.epsilon_limit)
            )
    except (PolicyError, BudgetError) as error:
        refused = str(error)
    if refused is None:
        refused = next((_does_not_fit(part, policy) for part in parts if part.rounds_left < part.rounds), None)
    return Plan(recipe=recipe.name, delta=delta, roster_size=at_site.roster_size, parts=tuple(parts), refused=refused)


def _planned(
    ledger: Ledger, part: Part, dataset: DataSet, mechanism: Mechanism, rounds: int, delta: float, limit: float
) -> PlannedPart:
    spent = [row.mechanism for row in ledger.history(dataset)]
    run = replace(mechanism, steps=mechanism.steps * rounds)
    return PlannedPart(
        part=part,
        fingerprint=dataset.fingerprint,
        unit=dataset.unit,
        size=len(dataset),
        noise_multiplier=mechanism.noise_multiplier,
        rounds=rounds,
        one_round=epsilon_rdp([mechanism], delta),
        whole_run=epsilon_rdp([run], delta),
        spent=epsilon_rdp(spent, delta),
        after_run=epsilon_rdp([*spent, run], delta),
        rounds_left=ledger.rounds_left(dataset, mechanism, delta, limit),
    )


def _does_not_fit(part: PlannedPart, policy: SitePolicy) -> str:
    what = "training round" if part.part == "train" else "evaluation"
    return (
        f"the {part.part} data would reach epsilon {part.after_run:.4g} of {policy.epsilon_limit:.4g}: "
        f"{part.rounds_left} of {part.rounds} {what}s fit"
    )


def _notes(ledger: Ledger, history: Sequence[ChargeRow]) -> list[str]:
    notes = []
    for mark in ledger.marks():
        what = "restored from an export" if mark.kind == "restore" else f"accepted as it was ({mark.reason})"
        notes.append(f"entry {mark.number}, {mark.created}: the ledger was {what}")
    if backwards := ledger.backwards():
        numbers = ", ".join(str(number) for number in backwards[:10]) + (", ..." if len(backwards) > 10 else "")
        notes.append(f"the clock was set back before entries {numbers}: their order is by number, times may mislead")
    if insecure := sum(row.insecure for row in history):
        notes.append(f"{insecure} charges were made under SEALORA_INSECURE_SEED: their noise protects nothing")
    return notes
