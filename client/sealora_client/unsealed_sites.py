"""The sites of a comparison: all their records in this process, and their part in rounds without messages.

What a party trains, weighs and tells is a site's own work (`round.work`), with neither a ledger nor a seal: see
`sealora_common.round.unsealed` for what that is good for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sealora_client.data.load import SiteData, load_data
from sealora_client.data.population import Population
from sealora_client.data.spool import Joined
from sealora_client.evaluation.choice import federation_metric
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import AdaptedModel, adapted_model
from sealora_client.training.choice import training_of
from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.errors import DataError
from sealora_common.privacy.plan import PrivacyPlan, privacy_plan
from sealora_common.recipe import Recipe
from sealora_common.round.contribution import Contribution, site_weight
from sealora_common.round.unsealed import Party, SiteHeldout, UnsealedAnswer, UnsealedOrder


class UnsealedSites:
    """What `sealora compare` asks of the installed site package, found by way of `SimulatedSites.unsealed`.

    Args:
        recipe: bound to its base model, see `SimulatedSites.resolve`. Its records and its model are used whatever an
            order's recipe says of them.
        planted: units that are put among the training records of some sites; no part of `digest`.

    Attributes:
        names: the sites', in order.
        layout: of the whole adapter.

    Raises:
        DataError: a site's records cannot be used, or none of its held-out ones can be measured.
        ModelError: the model cannot be, with this recipe.
    """

    def __init__(self, recipe: Recipe, planted: Mapping[str, Population] | None = None) -> None:
        self._recipe = recipe
        self._planted_units = planted or {}
        self._model: AdaptedModel = adapted_model(recipe)
        self._data = {name: _loaded(Path(path), recipe, self._model) for name, path in _sites(recipe)}
        self.names: tuple[str, ...] = tuple(self._data)
        self.layout: AdapterLayout = self._model.layout

    def units(self, party: Party) -> int:
        """How many records (persons) it trains on."""
        return len(self._train(party))

    def heldout_units(self, site: str) -> int:
        """How many of the site's are evaluated."""
        return len(self._data[site].heldout)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of who the sites are, and of all their records in any order."""
        parts = [(name, each.train_set.fingerprint, each.heldout_set.fingerprint) for name, each in self._data.items()]
        return hashlib.sha256("\n".join("\x1f".join(part) for part in parts).encode()).hexdigest()

    @property
    def trained_elsewhere(self) -> int:
        """Held-out records, of all sites, whose very text is trained on at some site."""
        trained = {record for each in self._data.values() for record in each.train_set.records}
        return sum(record in trained for each in self._data.values() for record in each.heldout_set.records)

    def answer(self, party: Party, order: UnsealedOrder, adapter: NDArray[np.float32]) -> UnsealedAnswer:
        """What the party would contribute to a round that begins with `adapter`, the shared part, flat.

        Raises:
            SealoraError: the model cannot be trained as the order's recipe says.
        """
        recipe, model = order.recipe, self._model
        plan, train = privacy_plan(recipe, order.roster_size), self._train(party)
        values: NDArray[np.float32] | NDArray[np.int64] = np.zeros(0, dtype=np.float32)
        unclipped, norm, heldout = 0.0, math.nan, 0.0
        with model.lock:
            self._write(adapter)
            if order.evaluates:
                heldout = self._told_figure(party, order, plan)
            if order.purpose == "train":
                # The first attempt's, where each has noise of its own.
                attempt = (1,) if plan.repeats_are_charged else ()
                trained = training_of(recipe).train(
                    model,
                    train,
                    plan=plan.training,
                    recipe=recipe,
                    round_number=order.number,
                    clip_norm=order.clip_norm,
                    leave=Rehearsal(plan.training.event) if plan.training.protects else None,
                    entropy=order.entropy(party, *attempt, "training"),
                )
                values, unclipped, norm = trained.values, trained.unclipped or 0.0, trained.figures.median_norm
        return UnsealedAnswer(Contribution(values, site_weight(recipe, len(train)), heldout, unclipped), norm)

    def heldout(self, adapter: NDArray[np.float32]) -> tuple[SiteHeldout, ...]:
        """An adapter, its shared part, flat, on the held-out records of every site."""
        metric = federation_metric(self._recipe)
        with self._model.lock:
            self._write(adapter)
            measured = {
                name: metric.measure(self._model, each.heldout, self._recipe) for name, each in self._data.items()
            }
        return tuple(SiteHeldout(name, each.mean, each.by_unit) for name, each in measured.items())

    def _told_figure(self, party: Party, order: UnsealedOrder, plan: PrivacyPlan) -> float:
        """What the server would be told of the adapter in the model; of several sites together the mean of theirs."""
        metric, entropy = federation_metric(order.recipe), order.entropy(party, "evaluation")
        public = metric.public_range(order.recipe)
        found = [metric.measure(self._model, self._data[site].heldout, order.recipe) for site in party]
        return float(np.mean([each.released_mean(public, plan.heldout, entropy) for each in found]))

    def _write(self, adapter: NDArray[np.float32]) -> None:
        kind = adapter_kind(self._recipe)
        tensors = kind.initial(self.layout)
        tensors.update(kind.shared(self.layout).unflatten(adapter))
        self._model.write(tensors)

    def _train(self, party: Party) -> Population:
        own = [self._data[site].train for site in party]
        return reduce(_joined, [*own, *(self._planted_units[site] for site in party if site in self._planted_units)])


def _sites(recipe: Recipe) -> list[tuple[str, str]]:
    return sorted(recipe.sites.simulated.items())


def _loaded(path: Path, recipe: Recipe, model: AdaptedModel) -> SiteData:
    data = load_data(path, recipe, model)
    if not any(example.unusable is None for unit in data.heldout.units for example in unit):
        raise DataError(
            f"{path}: none of its held-out records can be shown to the model, so there is nothing to compare by: "
            "correct them, or hold out others"
        )
    return data


def _joined(first: Population, second: Population) -> Population:
    return Population(Joined(first.units, second.units))
