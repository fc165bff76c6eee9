"""What an order makes a site do with its data: evaluate, pay, train. Nothing of it leaves without noise."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.evaluation import heldout_loss
from sealora_client.site import Site
from sealora_client.training.clipped_sum import ClippingFigures
from sealora_client.training.distributed import noised_sum
from sealora_client.training.dp_sgd import train_round
from sealora_common.adapter import initial_adapter
from sealora_common.contribution import Contribution, site_weight
from sealora_common.entropy import Entropy, site_entropy
from sealora_common.errors import ModelError
from sealora_common.order import RoundOrder, evaluates
from sealora_common.privacy.accounting import Mechanism, check_delta
from sealora_common.privacy.plan import heldout_mechanism, training_mechanism
from sealora_common.sum_grid import SumGrid

log = logging.getLogger(__name__)


@dataclass
class RoundWork:
    """One site's work on one order.

    Attributes:
        charges: entries of the privacy ledger that pay for what the contribution says. Each must be marked released
            before any of it leaves the site.
        figures: this site's own figures of the round, exact; they stay here.
    """

    site: Site
    order: RoundOrder
    charges: list[int] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def do(self, adapter: NDArray[np.float32]) -> Contribution:
        """Evaluates and trains from the global adapter `adapter` (its shared part, flat).

        Raises:
            BudgetError: the order would spend more privacy than is left.
            SealoraError: data or model cannot be used.
        """
        site, recipe = self.site, self.site.recipe
        model = site.model()
        self.figures = {
            "round": self.order.round_number,
            "kind": self.order.purpose,
            "records": site.data.train.examples,
            "heldout_records": site.data.heldout.examples,
            "truncated": site.data.truncated,
            "delta": recipe.privacy.delta,
        }
        if recipe.data.person_field is not None:
            self.figures |= {"persons": len(site.data.train), "heldout_persons": len(site.data.heldout)}
        loss = 0.0
        values: NDArray[Any] = np.zeros(0, dtype=np.float32)
        unclipped = 0.0
        with model.lock:
            tensors = initial_adapter(model.layout, recipe.lora.seed)
            tensors.update(model.layout.shared(recipe.lora.aggregation).unflatten(adapter))
            model.write(tensors)
            if evaluates(self.order, recipe):
                loss = self._evaluate()
            if self.order.purpose == "train":
                values, unclipped = self._train()
        if "epsilon" not in self.figures:
            self.figures["epsilon"] = self._spent()
        return Contribution(values, site_weight(recipe, len(site.data.train)), loss, unclipped)

    def _evaluate(self) -> float:
        """The held-out loss that leaves the site; notes the exact one."""
        site, privacy = self.site, self.site.recipe.privacy
        mechanism = heldout_mechanism(site.recipe)
        if mechanism is not None:
            self._charge(site.data.heldout, mechanism, heldout=True)
        loss = heldout_loss(site.model(), site.data.heldout, site.recipe.training.micro_batch_size)
        if not math.isfinite(loss.mean):
            raise ModelError(
                "the held-out loss is not a number: the model overflows in "
                f"{site.recipe.model.compute_dtype}; compute in bfloat16 or float32"
            )
        self.figures["heldout_loss"] = loss.mean
        if mechanism is None:
            return loss.clipped_mean(privacy.heldout_clip)
        entropy = self._entropy("evaluation")
        return loss.noisy_mean(privacy.heldout_clip, mechanism.noise_multiplier, entropy)

    def _train(self) -> tuple[NDArray[Any], float]:
        """Pays for the round and trains it: what leaves the site, and the noisy share of unclipped gradients."""
        site, recipe = self.site, self.site.recipe
        mechanism = training_mechanism(recipe, len(site.roster))
        noise_multiplier = 0.0
        self.figures["epsilon"] = None
        if mechanism is not None:
            self.figures["epsilon"] = self._charge(site.data.train, mechanism, heldout=False)
            noise_multiplier = mechanism.noise_multiplier
        entropy = self._entropy("training")
        if recipe.privacy.mechanism == "distributed":
            summed = noised_sum(
                site.model(),
                site.data.train,
                recipe=recipe,
                round_number=self.order.round_number,
                grid=SumGrid.of(recipe, len(site.roster)),
                clip_norm=self.order.clip_norm,
                noise_multiplier=noise_multiplier,
                entropy=entropy,
            )
            self._note(summed.figures, moved=True)
            return summed.values, 0.0
        trained = train_round(
            site.model(),
            site.data.train,
            recipe=recipe,
            round_number=self.order.round_number,
            noise_multiplier=noise_multiplier,
            entropy=entropy,
            clip_norm=self.order.clip_norm,
        )
        if not trained.moved:
            log.warning(
                "site %s, round %d: the adapter's weights did not move; check training.learning_rate and the data",
                site.name,
                self.order.round_number,
            )
        self._note(trained.figures, moved=trained.moved)
        return trained.delta, trained.unclipped or 0.0

    def _charge(self, population: Population, mechanism: Mechanism, *, heldout: bool) -> float:
        """Charges the ledger, durably, before anything is computed; returns what the data set has then spent."""
        site, privacy = self.site, self.site.recipe.privacy
        check_delta(privacy.delta, len(population))
        with site.ledger() as ledger:
            charge = ledger.charge(
                dataset=site.data.heldout_set if heldout else site.data.train_set,
                run=self.order.run,
                round_number=self.order.round_number,
                mechanism=mechanism,
                delta=privacy.delta,
                epsilon_limit=site.policy.epsilon_limit,
                run_epsilon_limit=privacy.epsilon,
            )
        self.charges.append(charge.id)
        return charge.epsilon_after

    def _note(self, figures: ClippingFigures, *, moved: bool) -> None:
        self.figures |= {
            "moved": moved,
            "fraction_clipped": _finite(figures.clipped_fraction),
            "median_norm": _finite(figures.median_norm),
            "clip_norm": self.order.clip_norm,
            "examples_seen": figures.examples,
            "non_finite": figures.non_finite,
        }

    def _spent(self) -> float | None:
        site = self.site
        if site.recipe.privacy.mechanism == "none":  # not 0: there is no bound at all
            return None
        with site.ledger() as ledger:
            return ledger.spent(site.data.train_set, site.recipe.privacy.delta)

    def _entropy(self, purpose: str) -> Entropy:
        order = self.order
        return site_entropy(self.site.name, order.purpose, order.round_number, order.attempt, purpose)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
