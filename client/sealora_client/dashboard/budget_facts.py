"""What the site's data sets have spent and may still spend, and every charge, as the ledger composes them.

Reading is quick; composing takes seconds when it is first asked for. A page that waits for it shows the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sealora_client.budget.report import SpentOnDataSet, budget_report
from sealora_client.dashboard.runs import RunNames
from sealora_client.ledger import LEDGER, ChargeRow, Ledger, has_ledger
from sealora_client.ledger.state import ChargeState
from sealora_client.site.policy import SitePolicy
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.recipe import Recipe

NEWEST: Final = 50
"""Charges that are told with what was spent after each."""
_POINTS: Final = 24
"""Of the curve of a data set."""


@dataclass(frozen=True)
class ChargeFacts:
    """One charge.

    Attributes:
        entry: of the ledger.
        created: when it was charged, UTC, ISO 8601.
        dataset: fingerprint.
        run: the run's id.
        recipe: its recipe's name, if the site keeps it.
        round: first is 1; 0 for what was written off.
        what: that it pays for, in words.
        state: what has become of it.
        since: when that was.
        repeats: how often it was taken up again.
        alone: epsilon of it by itself, at its own delta; None until it is worked out.
        after: epsilon that its data set had spent with it, at the policy's delta; None likewise, and of older ones.
    """

    entry: int
    created: str
    dataset: str
    run: str
    recipe: str | None
    round: int
    what: str
    state: ChargeState
    since: str
    repeats: int
    alone: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class DataSetFacts:
    """One data set.

    Attributes:
        fingerprint: its name.
        what: its records are for, in words, as its charges tell.
        unit: whom privacy protects.
        size: number of units.
        first_charged: UTC, ISO 8601.
        spent: epsilon; None until it is worked out.
        left: of the policy's limit.
        curve: (charges, epsilon spent by then), a point for some of them.
    """

    fingerprint: str
    what: str
    unit: str
    size: int
    first_charged: str
    spent: float | None = None
    left: float | None = None
    curve: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class BudgetFacts:
    """All of it.

    Attributes:
        epsilon_limit: the policy's.
        delta: the policy's, at which spent and left are meant.
        datasets: what is trained on first, else in order of their first charges.
        charges: the newest first.
        rows: the same as the ledger has them, in order.
        notes: what a person should know of the ledger besides.
        is_composed: whether epsilons are worked out.
    """

    epsilon_limit: float
    delta: float
    datasets: tuple[DataSetFacts, ...]
    charges: tuple[ChargeFacts, ...]
    rows: tuple[ChargeRow, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    is_composed: bool = False

    @property
    def most_spent(self) -> DataSetFacts | None:
        """The data set that has spent most; None if nothing was charged, or nothing is worked out."""
        known = [each for each in self.datasets if each.spent is not None]
        return max(known, key=lambda each: each.spent or 0.0, default=None)

    @property
    def open_charges(self) -> int:
        """Charges under which something may still leave."""
        return sum(each.state == "open" for each in self.charges)


def read_budget(directory: Path, policy: SitePolicy, runs: RunNames, *, compose: bool) -> BudgetFacts:
    """Reads the ledger of the site in `directory`, which is begun by nobody who only looks.

    Args:
        directory: the site's.
        policy: its.
        runs: the recipes of its runs.
        compose: whether epsilons are worked out, too.

    Raises:
        StorageError: the ledger cannot be read.
    """
    if not has_ledger(directory / LEDGER):
        return BudgetFacts(policy.epsilon_limit, policy.delta_limit, (), (), is_composed=True)
    with Ledger(directory / LEDGER) as ledger:
        rows = ledger.charges()
        charges = [_charge(row, runs.recipe(row.run)) for row in rows]
        if not compose:
            sets = tuple(
                DataSetFacts(row.fingerprint, _for(charges, row.fingerprint), row.unit, row.size, row.created)
                for row in ledger.datasets()
            )
            sets = _training_first(sets)
            return BudgetFacts(policy.epsilon_limit, policy.delta_limit, sets, tuple(reversed(charges)), tuple(rows))
        report = budget_report(ledger, "", policy, None)
        counted = {row.fingerprint: ledger.charges(row.fingerprint) for row in ledger.datasets()}
    delta = policy.delta_limit
    composed = [
        _composed(row, _for(charges, row.fingerprint), counted[row.fingerprint], delta) for row in report.datasets
    ]
    return BudgetFacts(
        epsilon_limit=policy.epsilon_limit,
        delta=delta,
        datasets=_training_first(composed),
        charges=tuple(_with_epsilons(charges, rows, counted, delta)),
        rows=tuple(rows),
        notes=report.notes,
        is_composed=True,
    )


def purpose_text(row: ChargeRow, recipe: Recipe | None) -> str:
    """What a charge pays for."""
    event = row.event
    if row.is_rest_of_run:
        return "all that the run may yet have taken"
    # An evaluation is one release of every held-out unit under Gaussian noise (`HeldoutPlan`).
    if event.sample_rate < 1 or event.steps > 1 or event.noise != "gaussian":
        return "training"
    return "evaluation" if recipe is None or recipe.training.sample_rate < 1 else "training or evaluation"


def _charge(row: ChargeRow, recipe: Recipe | None) -> ChargeFacts:
    return ChargeFacts(
        entry=row.id,
        created=row.created,
        dataset=row.dataset,
        run=row.run,
        recipe=None if recipe is None else recipe.name,
        round=row.round_number,
        what=purpose_text(row, recipe),
        state=row.state,
        since=row.since,
        repeats=row.repeats,
    )


def _for(charges: Sequence[ChargeFacts], fingerprint: str) -> str:
    found = {each.what for each in charges if each.dataset == fingerprint}
    if found == {"training"}:
        return "training records"
    return "held-out records" if found == {"evaluation"} else "records"


def _training_first(sets: Iterable[DataSetFacts]) -> tuple[DataSetFacts, ...]:
    return tuple(sorted(sets, key=lambda each: each.what != "training records"))


def _composed(row: SpentOnDataSet, what: str, counted: Sequence[ChargeRow], delta: float) -> DataSetFacts:
    step = max(1, -(-len(counted) // _POINTS))
    places = sorted({*range(step, len(counted) + 1, step), len(counted)} - {0})
    return DataSetFacts(
        fingerprint=row.fingerprint,
        what=what,
        unit=row.unit,
        size=row.size,
        first_charged=row.first_charged,
        spent=row.spent,
        left=row.left,
        curve=((0, 0.0), *((place, epsilon_pld([each.event for each in counted[:place]], delta)) for place in places)),
    )


def _with_epsilons(
    charges: Sequence[ChargeFacts], rows: Sequence[ChargeRow], counted: dict[str, list[ChargeRow]], delta: float
) -> Iterator[ChargeFacts]:
    oldest = len(rows) - NEWEST
    for place in reversed(range(len(rows))):
        row = rows[place]
        after = None
        if place >= oldest and row.voided is None:
            after = epsilon_pld([each.event for each in counted[row.dataset] if each.id <= row.id], delta)
        yield replace(charges[place], alone=epsilon_pld([row.event], row.delta), after=after)
