"""A site's part in one round: check the order, evaluate, pay, train, then take part in the sealing.

Between two stages all that the round needs is in a `RoundState`, which the caller keeps at the site.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from sealora_client.evaluation import heldout_loss
from sealora_client.history import History
from sealora_client.site import Site
from sealora_client.training.dp_sgd import train_round
from sealora_common.adapter import AdapterLayout, initial_adapter
from sealora_common.clip_range import initial_range
from sealora_common.contribution import Contribution, ContributionLayout, site_weight
from sealora_common.entropy import Entropy, site_entropy
from sealora_common.errors import ModelError, PolicyError
from sealora_common.order import RoundOrder, layout_of, terms_of, vector_digest
from sealora_common.privacy.accounting import Mechanism, calibrate_noise, check_delta
from sealora_common.receipt import Receipt
from sealora_common.secagg import RingVector, RoundTerms, SiteSession

log = logging.getLogger(__name__)


class RoundState(BaseModel):
    """What a site remembers of a round from stage to stage. Holds secrets: it never leaves the site."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    order: RoundOrder
    session: bytes
    charge: int | None
    figures: dict[str, Any]
    """The line for the site's own history."""


class Participation:
    """One site in one round."""

    def __init__(self, site: Site, state: RoundState, encoded: bytes) -> None:
        self._site = site
        self.state = state
        self.encoded = encoded
        """The site's contribution, encoded but not masked; empty once it has been."""

    @classmethod
    def begin(
        cls, site: Site, order: RoundOrder, adapter: NDArray[np.float32], receipts: list[Receipt]
    ) -> tuple[Participation, bytes]:
        """Does what the order asks for and makes the keys of the round.

        Args:
            site: this site.
            order: the server's order.
            adapter: the shared part of the global adapter, flat.
            receipts: the run's receipts so far, as the server tells them.

        Returns:
            The site's part in the round and its signed advertisement.

        Raises:
            PolicyError: the order is not one this site agreed to.
            BudgetError: the order would spend more privacy than is left.
            SealoraError: data or model cannot be used.
        """
        started = time.monotonic()
        model = site.model()
        recipe = site.recipe
        _check_order(site, order, adapter, model.layout)
        History(site.directory, order.run).extend(receipts, order, recipe.hash, site.server_key)
        contributions = _contributions(site, order)
        with model.lock:
            model.write(_global_adapter(site, model.layout, adapter))
            loss = heldout_loss(model, site.data.heldout, recipe.training.micro_batch_size).mean
            if not math.isfinite(loss):
                raise ModelError(
                    "the held-out loss is not a number: the model overflows in "
                    f"{recipe.model.compute_dtype}; compute in bfloat16 or float32"
                )
            figures: dict[str, Any] = {
                "round": order.round_number,
                "kind": order.purpose,
                "heldout_loss": loss,
                "records": len(site.data.train),
                "heldout_records": len(site.data.heldout),
                "truncated": site.data.truncated,
                "delta": recipe.privacy.delta,
            }
            delta = np.zeros(0, dtype=np.float32)
            charge = None
            if order.purpose == "train":
                charge, delta = _train(site, order, figures)
        if "epsilon" not in figures:
            figures["epsilon"] = _spent(site)
        contribution = Contribution(delta, site_weight(recipe, len(site.data.train)), min(loss, 64.0))
        vector = contributions.encode(contribution, _entropy(site, order, "rounding"))
        terms = terms_of(order, recipe, site.roster, contributions)
        session, advertisement = SiteSession.begin(terms, site.roster, site.identity, _entropy(site, order, "keys"))
        figures["seconds"] = time.monotonic() - started
        state = RoundState(order=order, session=session.to_bytes(), charge=charge, figures=figures)
        return cls(site, state, vector.pack()), advertisement

    def share(self, payload: bytes) -> bytes:
        """Answers the share stage."""
        session = self._session()
        answer = session.share(payload)
        self.state.session = session.to_bytes()
        return answer

    def mask(self, payload: bytes) -> bytes:
        """Answers the mask stage. From here on the round's charge is spent, whatever comes of the round."""
        session = self._session()
        if self.state.charge is not None:
            with self._site.ledger() as ledger:
                ledger.mark_released(self.state.charge)
        answer = session.mask(payload, RingVector.unpack(self.encoded, self._terms().segments))
        self.state.session = session.to_bytes()
        self.encoded = b""
        return answer

    def confirm(self, payload: bytes) -> bytes:
        """Answers the confirm stage."""
        session = self._session()
        answer = session.confirm(payload)
        names = tuple(self._site.roster.names[index] for index in session.survivors)
        History(self._site.directory, self.state.order.run).confirm(self.state.order, names)
        self.state.session = session.to_bytes()
        return answer

    def open(self, payload: bytes) -> bytes:
        """Answers the last stage; the round's secrets are gone afterwards."""
        session = self._session()
        answer = session.open(payload)
        self.state.session = session.to_bytes()
        return answer

    def finish(self, *, bytes_up: int, bytes_down: int) -> None:
        """Notes the round's figures in the site's own history."""
        self._site.note({**self.state.figures, "bytes_up": bytes_up, "bytes_down": bytes_down})

    def _session(self) -> SiteSession:
        return SiteSession.from_bytes(self.state.session, self._terms(), self._site.roster, self._site.identity)

    def _terms(self) -> RoundTerms:
        order = self.state.order
        return terms_of(order, self._site.recipe, self._site.roster, _contributions(self._site, order))


def _contributions(site: Site, order: RoundOrder) -> ContributionLayout:
    return layout_of(order, site.recipe, site.roster, site.model().layout)


def _check_order(site: Site, order: RoundOrder, adapter: NDArray[np.float32], layout: AdapterLayout) -> None:
    if order.recipe_hash != site.recipe.hash:
        raise PolicyError(
            f"the order is for recipe {order.recipe_hash[:12]}, this site agreed to {site.recipe.hash[:12]} "
            "(recipe.yaml): it was refused"
        )
    if order.roster_hash != site.roster.hash.hex():
        raise PolicyError("the order is for another roster than this site's roster.json: it was refused")
    if order.layout_digest != layout.digest:
        raise PolicyError("the order is for another base model or adapter than this site's: it was refused")
    last = site.recipe.rounds if order.purpose == "train" else site.recipe.rounds + 1
    if order.round_number > last:
        raise PolicyError(f"the order is for round {order.round_number} of a recipe of {site.recipe.rounds} rounds")
    if adapter.shape != (layout.shared(site.recipe.lora.aggregation).size,):
        raise PolicyError(f"the order's adapter has {adapter.size} parameters, not those of this site's layout")
    shared = layout.shared(site.recipe.lora.aggregation)
    initial = vector_digest(shared.flatten(initial_adapter(layout, site.recipe.lora.seed)))
    if order.round_number == 1 and order.adapter_digest != initial:
        raise PolicyError("the first round's adapter is not the one the recipe's lora.seed gives: it was refused")
    if order.clip_range > initial_range(site.recipe):
        raise PolicyError(f"the order's range {order.clip_range:g} is wider than the recipe allows: it was refused")
    if order.adapter_digest != vector_digest(adapter) or not np.isfinite(adapter).all():
        raise PolicyError("the order's adapter is damaged: it was refused")


def _global_adapter(site: Site, layout: AdapterLayout, adapter: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    tensors = initial_adapter(layout, site.recipe.lora.seed)
    tensors.update(layout.shared(site.recipe.lora.aggregation).unflatten(adapter))
    return tensors


def _train(site: Site, order: RoundOrder, figures: dict[str, Any]) -> tuple[int | None, NDArray[np.float32]]:
    """Pays for the round, trains it and adds its figures; returns the charge and the delta."""
    recipe = site.recipe
    charge_id = None
    noise_multiplier = 0.0
    if recipe.privacy.mechanism == "local":
        check_delta(recipe.privacy.delta, len(site.data.train))
        noise_multiplier = calibrate_noise(
            recipe.privacy.epsilon, recipe.privacy.delta, recipe.training.sample_rate, recipe.accounted_steps
        )
        mechanism = Mechanism(noise_multiplier, recipe.training.sample_rate, recipe.training.steps_per_round)
        with site.ledger() as ledger:
            charge = ledger.charge(
                dataset=site.data.fingerprint,
                run=order.run,
                round_number=order.round_number,
                mechanism=mechanism,
                delta=recipe.privacy.delta,
                epsilon_limit=site.policy.epsilon_limit,
                run_epsilon_limit=recipe.privacy.epsilon,
            )
        charge_id = charge.id
        figures["epsilon"] = charge.epsilon_after
    else:
        figures["epsilon"] = None
    trained = train_round(
        site.model(),
        site.data.train,
        recipe=recipe,
        round_number=order.round_number,
        noise_multiplier=noise_multiplier,
        entropy=_entropy(site, order, "training"),
    )
    if not trained.moved:
        log.warning(
            "site %s, round %d: the adapter's weights did not move; check training.learning_rate and the data",
            site.name,
            order.round_number,
        )
    figures["moved"] = trained.moved
    figures["fraction_clipped"] = _finite(trained.clipped_fraction)
    figures["median_norm"] = _finite(trained.median_gradient_norm)
    figures["examples_seen"] = trained.examples_seen
    figures["non_finite"] = trained.non_finite
    return charge_id, trained.delta


def _spent(site: Site) -> float | None:
    if site.recipe.privacy.mechanism == "none":  # not 0: there is no bound at all
        return None
    with site.ledger() as ledger:
        return ledger.spent(site.data.fingerprint, site.recipe.privacy.delta)


def _entropy(site: Site, order: RoundOrder, purpose: str) -> Entropy:
    return site_entropy(site.name, order.purpose, order.round_number, order.attempt, purpose)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
