"""What an order makes a site do with its data: evaluate, pay, train. Nothing of it leaves without noise.

Whether it succeeds may not depend on a record: until the masked vector leaves, a server that sends hostile orders must
learn nothing from an answer, nor from there being none. A loss or gradient that is no number counts as clipped or as
nothing, and the site's own operator is told.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sealora_client.budget.admission import admit_unless_begun
from sealora_client.data.fingerprint import DataSet
from sealora_client.evaluation.choice import federation_metric
from sealora_client.evaluation.metric import ReleasedMetric
from sealora_client.ledger import Charge, Ledger, PaidRelease
from sealora_client.round.outbox import Kept, Noised, Outbox
from sealora_client.site.directory import Site
from sealora_client.training.choice import training_of
from sealora_client.training.clipped_groups import ClippingFigures
from sealora_client.training.entropy import training_entropy
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import Entropy
from sealora_common.errors import AlreadyReleasedError, BudgetError, OrderRefusedError
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.plan import Part, PrivacyPlan, privacy_plan
from sealora_common.records.site_rounds import SiteRound
from sealora_common.round.contribution import Contribution, site_weight
from sealora_common.round.order import RoundOrder, evaluates

_MOSTLY = 0.5

log = logging.getLogger(__name__)


@dataclass
class RoundWork:
    """One site's work on one order.

    Attributes:
        releases: what the contribution releases. Each must be marked released before any of it leaves the site.
        figures: this site's own figures of the round, exact; they stay here.
    """

    site: Site
    order: RoundOrder
    releases: list[PaidRelease] = field(default_factory=list)
    figures: SiteRound = field(init=False, repr=False)

    def do(self, adapter: NDArray[np.float32]) -> Contribution:
        """Evaluates and trains from the global adapter `adapter` (its shared part, flat).

        A round that was ordered before is not done again as far as what came of it is kept (see `outbox`): the same
        contribution is returned, at no charge.

        Raises:
            OrderRefusedError: the order would spend more privacy than is left, or asks for a second vector where only
                one may leave, or differs from the first order for its round.
            SealoraError: the site's own files cannot be used.
        """
        site, order, recipe = self.site, self.order, self.site.recipe
        metric = federation_metric(recipe)  # or it is refused, before anything is charged
        admit_unless_begun(site, order.run)
        outbox = Outbox(site.directory, order.run)
        kept = outbox.find(order)
        if kept is not None:
            kept.require_of(order)
        if mechanism_of(recipe).repeat == "refused" and outbox.was_sent(order):
            raise second_vector(order)
        kept = self._without_what_is_void(kept) if kept is not None else self._nothing_yet()
        self.figures = kept.figures
        model = site.model()
        values: NDArray[np.float32] | NDArray[np.int64] | None = kept.values
        with model.lock:
            tensors = adapter_kind(recipe).initial(model.layout)
            tensors.update(adapter_kind(recipe).shared(model.layout).unflatten(adapter))
            model.write(tensors)
            if evaluates(order, recipe) and kept.heldout_loss is None:
                kept = replace(kept, heldout_loss=self._evaluate(metric))
            if order.purpose == "train" and values is None:
                kept, values = self._train(kept)
        if not self.figures.is_charged:
            self.figures = self.figures.charged(self._spent())
        self._note_paid(kept)
        outbox.keep(self._what_may_be_kept(replace(kept, figures=self.figures)))
        return Contribution(
            values=np.zeros(0, dtype=np.float32) if values is None else values,
            weight=kept.weight,
            heldout_loss=0.0 if kept.heldout_loss is None else kept.heldout_loss.value,
            unclipped=kept.unclipped,
        )

    @property
    def _plan(self) -> PrivacyPlan:
        return privacy_plan(self.site.recipe, len(self.site.roster))

    def _nothing_yet(self) -> Kept:
        site, order = self.site, self.order
        data = site.data
        figures = SiteRound(
            round=order.round_number,
            kind=order.purpose,
            run=order.run,
            records=len(data.train_set.records),
            heldout_records=len(data.heldout_set.records),
            truncated=data.truncated,
            delta=site.recipe.privacy.delta,
        )
        if site.recipe.data.person_field is not None:
            figures = figures.of_persons(len(data.train), len(data.heldout))
        return Kept(
            purpose=order.purpose,
            round_number=order.round_number,
            recipe_hash=order.recipe_hash,
            adapter_digest=order.adapter_digest,
            clip_norm=order.clip_norm,
            weight=site_weight(site.recipe, len(data.train)),
            figures=figures,
        )

    def _without_what_is_void(self, kept: Kept) -> Kept:
        """What is kept, less what the ledger would not let leave any more."""
        if kept.heldout_loss is not None and not self._is_paid(kept.heldout_loss.release):
            kept = replace(kept, heldout_loss=None)
        if kept.values is not None and not self._is_paid(kept.release):
            kept = replace(kept, values=None, charge=None, unclipped=0.0)
        return kept

    def _is_paid(self, paid: PaidRelease | None) -> bool:
        if paid is None:
            return False
        with self.site.ledger() as ledger:
            return ledger.can_release(paid)

    def _what_may_be_kept(self, kept: Kept) -> Kept:
        """What carries its own noise; of a sum that the seal protects, and of what has no noise, nothing."""
        if not mechanism_of(self.site.recipe).protects:
            return replace(kept, heldout_loss=None, values=None, unclipped=0.0)
        return kept

    def _note_paid(self, kept: Kept) -> None:
        paid = [None if kept.heldout_loss is None else kept.heldout_loss.release]
        paid += [None if kept.values is None else kept.release]
        self.releases += [release for release in paid if release is not None]

    def _evaluate(self, metric: ReleasedMetric) -> Noised:
        """The held-out loss that leaves the site; notes the exact one."""
        site, recipe = self.site, self.site.recipe
        charge = self._charge("heldout")
        loss = metric.measure(site.model(), site.data.heldout, recipe)
        self.figures = self.figures.evaluated(loss.mean)
        self._tell_non_finite(int(np.count_nonzero(~np.isfinite(loss.by_unit))), len(loss.by_unit), "held-out losses")
        value = loss.released_mean(metric.public_range(recipe), self._plan.heldout, self._entropy("evaluation"))
        return Noised(value=value, charge=None if charge is None else charge.reference)

    def _train(self, kept: Kept) -> tuple[Kept, NDArray[np.float32] | NDArray[np.int64]]:
        """Pays for the round and trains it: what is kept, and the values that leave under the seal.

        What carries its own noise is among what is kept. What costs as much each time it leaves is new each time, and
        never kept.
        """
        site, recipe, order, plan = self.site, self.site.recipe, self.order, self._plan
        if plan.repeats_are_charged:
            self._require_attempts_left()
        charge = self._charge("train")
        self.figures = self.figures.charged(None if charge is None else charge.epsilon_after)
        trained = training_of(recipe).train(
            site.model(),
            site.data.train,
            plan=plan.training,
            recipe=recipe,
            round_number=order.round_number,
            clip_norm=order.clip_norm,
            leave=charge,
            entropy=self._entropy("training", *([order.attempt] if plan.repeats_are_charged else [])),
            devices=site.devices(),
        )
        if not trained.moved:
            log.warning(
                "site %s, round %d: the adapter's weights did not move; check training.learning_rate and the data",
                site.name,
                order.round_number,
            )
        self._note(trained.figures, moved=trained.moved)
        paid = None if charge is None else charge.reference
        if plan.repeats_are_charged:
            if paid is not None:
                # Without a digest: a sum that has left may not leave again, not even the same.
                self.releases.append(PaidRelease(charge=paid, content=""))
            return kept, trained.values
        delta = trained.values.astype(np.float32, copy=False)
        return replace(kept, values=delta, charge=paid, unclipped=trained.unclipped or 0.0), delta

    def _require_attempts_left(self) -> None:
        """Refuses to send one round's sum more often than the recipe tries a round, whatever the budget allows."""
        site, order = self.site, self.order
        with site.ledger() as ledger:
            rows = ledger.charges(site.data.train_set)
        sent = sum(row.released is not None for row in rows if (row.run, row.round_number) == _round(order))
        if sent >= site.recipe.sites.round_attempts:
            raise OrderRefusedError(
                f"this site has sent its sum of round {order.round_number} {sent} times, which is as often as the "
                "recipe's sites.round_attempts allows: start a new run"
            )

    def _charge(self, part: Part) -> Charge | None:
        """Charges the ledger as the plan says, durably, before anything is computed; None where nothing is due."""
        site, privacy = self.site, self.site.recipe.privacy
        planned = self._plan.charge(part)
        if planned is None:
            return None
        dataset = site.data.train_set if part == "train" else site.data.heldout_set
        try:
            with site.ledger() as ledger:
                self._tell_of_changed_data(ledger, dataset, planned.event)
                return ledger.charge(
                    dataset=dataset,
                    run=self.order.run,
                    round_number=self.order.round_number,
                    event=planned.event,
                    delta=privacy.delta,
                    epsilon_limit=site.policy.epsilon_limit,
                    run_epsilon_limit=privacy.epsilon,
                    planned=planned.times,
                    once=planned.once,
                )
        except AlreadyReleasedError as error:
            log.warning("refused round %d: %s", self.order.round_number, error)
            raise OrderRefusedError(
                f"this site has sent what it had for round {self.order.round_number}, and does not have it any more to "
                "send it again: go on without this site, or start a new run"
            ) from error
        except BudgetError as error:
            log.warning("refused round %d: %s", self.order.round_number, error)
            raise OrderRefusedError(
                "the site's privacy budget does not allow this round; its own log says what is left"
            ) from error

    def _tell_of_changed_data(self, ledger: Ledger, dataset: DataSet, event: PrivacyEvent) -> None:
        """Says once, in the site's own log, that the run goes on with other records than it had."""
        earlier = [row for row in ledger.charges() if row.run == self.order.run and row.is_of_kind(event)]
        now = ledger.name_of(dataset)
        if earlier and earlier[-1].dataset != now:
            log.warning(
                "site %s: its data changed since round %d of this run (%s then, %s now): the run goes on with what is "
                "there, and records of both are charged for both",
                self.site.name,
                earlier[-1].round_number,
                earlier[-1].dataset[:12],
                now[:12],
            )

    def _note(self, figures: ClippingFigures, *, moved: bool) -> None:
        self.figures = self.figures.trained(
            moved=moved,
            fraction_clipped=figures.clipped_fraction,
            median_norm=figures.median_norm,
            clip_norm=self.order.clip_norm,
            examples_seen=figures.examples,
            non_finite=figures.non_finite,
        )
        self._tell_non_finite(figures.non_finite, len(figures.norms), "gradients")

    def _tell_non_finite(self, count: int, drawn: int, what: str) -> None:
        """Tells the site's own operator what the server must not learn."""
        if not count:
            return
        level = logging.ERROR if count > _MOSTLY * drawn else logging.WARNING
        log.log(
            level,
            "site %s, round %d: %d of %d %s are not finite and say nothing%s: the model overflows in %s; agree on "
            "bfloat16 or float32, or look for records that are not text",
            self.site.name,
            self.order.round_number,
            count,
            drawn,
            what,
            "; what this site sends is mostly noise" if level == logging.ERROR else "",
            self.site.recipe.model.compute_dtype,
        )

    def _spent(self) -> float | None:
        site = self.site
        if not mechanism_of(site.recipe).protects:  # not 0: there is no bound at all
            return None
        with site.ledger() as ledger:
            return ledger.spent(site.data.train_set, site.recipe.privacy.delta)

    def _entropy(self, purpose: str, *attempt: int) -> Entropy:
        site, order = self.site, self.order
        return training_entropy(site.recipe, site.name, order.purpose, order.round_number, *attempt, purpose)


def second_vector(order: RoundOrder) -> OrderRefusedError:
    """The refusal of a second vector of a round without privacy: two of them could be subtracted."""
    return OrderRefusedError(
        f"this site has sent its vector of round {order.round_number}, and without privacy.mechanism sends no second "
        "one: start a new run"
    )


def _round(order: RoundOrder) -> tuple[str, int]:
    return order.run, order.round_number
