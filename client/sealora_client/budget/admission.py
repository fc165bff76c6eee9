"""Whether a whole run fits: all its rounds, spare rounds and evaluations, before the first of them is charged.

One judgement for whoever asks (`sealora-site budget`, `check`, the site's greeting): what the run has yet to charge, on
top of all that counts against the site's data, must stay under the policy's limit over the data's lifetime, and on top
of its own charges under what the recipe promises. `HEADROOM` of each limit is left free, so that no round of an
admitted run is refused by a rounding when its turn comes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from sealora_client.data.fingerprint import DataSet
from sealora_client.ledger import ChargeRow, Ledger
from sealora_client.ledger.overspend import repeats_that_fit
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import BudgetError, OrderRefusedError
from sealora_common.privacy.accounting import HEADROOM, PrivacyEvent, epsilon_pld
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.plan import Part, privacy_plan
from sealora_common.recipe import Recipe

if TYPE_CHECKING:  # it brings the model's libraries, which nobody needs who asks what something costs
    from sealora_client.site.directory import Site

_SILENT = timedelta(days=7)
"""A run that has not been charged for so long is over, whatever it had planned."""

log = logging.getLogger(__name__)

_WHAT: dict[Part, str] = {"train": "training round", "heldout": "evaluation"}


@dataclass(frozen=True)
class PlannedPart:
    """What a run has yet to charge one part of the site's data. Epsilons are at `delta`.

    Attributes:
        part: of the data.
        dataset: the units that would be charged.
        event: one round of training, or one evaluation.
        rounds: how many of it the run may take in all, the spare ones among them.
        charged: how many of these it has charged already.
        history: all charges that count against the data set.
        reserved: what other runs that have begun may yet charge it.
        own: the run's own among them.
        delta: the recipe's.
        epsilon_limit: the policy's, for the data's lifetime.
        run_epsilon: the recipe's, for the run.
    """

    part: Part
    dataset: DataSet
    event: PrivacyEvent
    rounds: int
    charged: int
    history: tuple[PrivacyEvent, ...]
    reserved: tuple[PrivacyEvent, ...]
    own: tuple[PrivacyEvent, ...]
    delta: float
    epsilon_limit: float
    run_epsilon: float

    @property
    def remaining(self) -> int:
        """Rounds that the run may yet charge."""
        return max(0, self.rounds - self.charged)

    @cached_property
    def one_round(self) -> float:
        """Epsilon of one round by itself."""
        return epsilon_pld([self.event], self.delta)

    @cached_property
    def whole_run(self) -> float:
        """Epsilon of all the run's rounds by themselves."""
        return epsilon_pld([self.event.repeated(self.rounds)], self.delta)

    @cached_property
    def spent(self) -> float:
        """Epsilon spent at present."""
        return epsilon_pld(self.history, self.delta)

    @cached_property
    def after_run(self) -> float:
        """Epsilon spent when the run is over."""
        return epsilon_pld([*self.history, *self.reserved, self.event.repeated(self.remaining)], self.delta)

    @cached_property
    def rounds_left(self) -> int:
        """How many more rounds fit under the policy's limit, at most a million."""
        return repeats_that_fit(
            [*self.history, *self.reserved], self.event, self.delta, self.epsilon_limit * (1 - HEADROOM)
        )

    @cached_property
    def refused(self) -> str | None:
        """Why what remains of the run does not fit, in one sentence; None if it does."""
        if self.remaining == 0:
            return None
        if self.after_run > self.epsilon_limit * (1 - HEADROOM):
            return (
                f"the {self.part} data would reach epsilon {self.after_run:.4g} of {self.epsilon_limit:.4g}: "
                f"{self.rounds_left} of {self.remaining} {_WHAT[self.part]}s fit"
                + (" beside what runs that have begun may yet take" if self.reserved else "")
            )
        of_run = epsilon_pld([*self.own, self.event.repeated(self.remaining)], self.delta)
        if of_run > self.run_epsilon * (1 - HEADROOM):
            return (
                f"the {self.part} data would reach epsilon {of_run:.4g} of the {self.run_epsilon:.4g} that the recipe "
                f"promises, as the run has charged {self.charged} of its {self.rounds} {_WHAT[self.part]}s already"
            )
        return None


@dataclass(frozen=True)
class Admission:
    """The judgement.

    Attributes:
        parts: what the run has yet to charge each part of the data; empty without privacy, or if that cannot be told.
        refused: why the site would refuse the run or its end, in one sentence; None if it would not.
    """

    parts: tuple[PlannedPart, ...]
    refused: str | None


def admission(
    ledger: Ledger,
    policy: SitePolicy,
    recipe: Recipe,
    roster_size: int,
    train: DataSet,
    heldout: DataSet,
    run: str | None = None,
    now: datetime | None = None,
) -> Admission:
    """Judges what is left of a run: the recipe's rounds, spare rounds and evaluations, less those it has charged.

    Args:
        ledger: the site's.
        policy: the site's. Its lines on recipe and roster are judged by `SitePolicy.check`.
        recipe: the run's.
        roster_size: sites of the federation.
        train: the training records, as they would be charged.
        heldout: the held-out records, as they would be charged.
        run: the run's identity; None for one that has not begun.
        now: the time, with its time zone; None for this machine's.

    Raises:
        StorageError: the ledger is damaged.
        RecipeError: the recipe asks for more honest survivors than a round is sure to have.
    """
    datasets: dict[Part, DataSet] = {"train": train, "heldout": heldout}
    parts: list[PlannedPart] = []
    try:
        for dataset in datasets.values():
            mechanism_of(recipe).require_units(recipe, len(dataset))
        for charge in privacy_plan(recipe, roster_size).charges:
            dataset, rows = datasets[charge.part], ledger.charges(datasets[charge.part])
            # What other runs were charged for and never sent would be voided, so it takes no room.
            history = [row for row in rows if row.run == run or not row.is_unused]
            own = [row for row in history if row.run == run]
            parts.append(
                PlannedPart(
                    part=charge.part,
                    dataset=dataset,
                    event=charge.event,
                    rounds=charge.times,
                    charged=sum(row.is_of_kind(charge.event) for row in own),
                    history=tuple(row.event for row in history),
                    reserved=tuple(_reserved([row for row in history if row.run != run], now or datetime.now(UTC))),
                    own=tuple(row.event for row in own),
                    delta=recipe.privacy.delta,
                    epsilon_limit=policy.epsilon_limit,
                    run_epsilon=recipe.privacy.epsilon,
                )
            )
    except BudgetError as error:
        return Admission(tuple(parts), str(error))
    return Admission(tuple(parts), next((part.refused for part in parts if part.refused is not None), None))


def admit(site: Site, run: str | None) -> None:
    """Refuses a run that the site's budget does not allow as a whole, before it is charged for any of it.

    The sentence of `sealora-site budget` goes to the site's own log. What travels is that there is not enough, which
    the site's records decide as far as they were in data that was charged before.

    Args:
        site: this site.
        run: the run's identity; None if the server does not say it.

    Raises:
        OrderRefusedError: the run does not fit.
        SealoraError: the site's own files cannot be used.
    """
    if not mechanism_of(site.recipe).protects:
        return
    data = site.data
    with site.ledger() as ledger:
        judged = admission(ledger, site.policy, site.recipe, len(site.roster), data.train_set, data.heldout_set, run)
    if judged.refused is not None:
        log.warning("run %s: %s", "" if run is None else run[:12], judged.refused)
        raise OrderRefusedError(
            "the site's privacy budget does not allow this whole run: `sealora-site budget` at the site says why"
        )


def admit_unless_begun(site: Site, run: str) -> None:
    """As `admit`, but for a run of which something has left: that is not stopped half way for a later one.

    Raises:
        OrderRefusedError: the run does not fit.
        SealoraError: the site's own files cannot be used.
    """
    if not mechanism_of(site.recipe).protects:
        return
    data = site.data
    with site.ledger() as ledger:
        rows = [*ledger.charges(data.train_set), *ledger.charges(data.heldout_set)]
    if not any(row.run == run and row.released is not None for row in rows):
        admit(site, run)


def runs_in_lifetime(recipe: Recipe, roster_size: int, epsilon_limit: float) -> int | None:
    """How many runs of `recipe` the limit over a data set's lifetime allows in all; None without privacy.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
        RecipeError: the recipe asks for more honest survivors than a round is sure to have.
    """
    delta, limit = recipe.privacy.delta, epsilon_limit * (1 - HEADROOM)
    charges = privacy_plan(recipe, roster_size).charges
    return min((repeats_that_fit([], charge.whole_run, delta, limit) for charge in charges), default=None)


def only_one_run(recipe: Recipe, roster_size: int, epsilon_limit: float) -> str | None:
    """What to say of a limit that leaves room for one run of `recipe` and no second; None otherwise.

    Raises:
        BudgetError: no amount of noise reaches the recipe's epsilon.
        RecipeError: the recipe asks for more honest survivors than a round is sure to have.
    """
    if runs_in_lifetime(recipe, roster_size, epsilon_limit) != 1:
        return None
    return (
        f"epsilon_limit is {epsilon_limit:g} and this recipe spends {recipe.privacy.epsilon:g}: one run in this data's "
        "lifetime"
    )


def _reserved(rows: Sequence[ChargeRow], now: datetime) -> Iterator[PrivacyEvent]:
    """What other runs may yet charge: those of which something has left, and that are not silent for long.

    A run of which nothing has left reserves nothing, or a server could block a site with runs that it invents.
    """
    for run in {row.run for row in rows if row.released is not None}:
        own = [row for row in rows if row.run == run]
        if any(row.is_rest_of_run for row in own):
            continue  # all that it may take is charged
        if now - datetime.fromisoformat(own[-1].created) < _SILENT:
            for event in {row.event for row in own}:
                of_kind = [row for row in own if row.event == event]
                left = max(row.planned for row in of_kind) - len(of_kind)
                if left > 0:
                    yield event.repeated(left)
