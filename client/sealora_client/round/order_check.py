"""What a site compares an order with before it does anything: its own recipe, roster, model and public ranges."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from sealora_client.site.directory import Site
from sealora_common import __version__
from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.errors import OrderRefusedError
from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import is_allowed
from sealora_common.round.clip_range import is_allowed_range
from sealora_common.round.groups import may_regroup
from sealora_common.round.order import RoundOrder, most_attempts, of_another_release, vector_digest


def check_order(
    site: Site,
    order: RoundOrder,
    adapter: NDArray[np.float32],
    layout: AdapterLayout,
    at: datetime | None = None,
) -> None:
    """Refuses an order that is not of the recipe, roster and model this site agreed to.

    Args:
        site: this site.
        order: the server's order.
        adapter: the shared part of the global adapter, flat, as it came with the order.
        layout: of the whole adapter on this site's base model.
        at: the time, with its time zone; None is now.

    Raises:
        OrderRefusedError: names what does not fit.
    """
    recipe = site.recipe
    _check_time(site, datetime.now(UTC) if at is None else at)
    if order.release != __version__:
        raise of_another_release(order.release)
    if order.recipe_hash != recipe.hash:
        raise OrderRefusedError(
            f"the order is for recipe {order.recipe_hash[:12]}, this site agreed to {recipe.hash[:12]} "
            "(recipe.yaml): it was refused"
        )
    if (order.roster_hash, order.roster_sequence) != (site.roster.hash.hex(), site.roster.sequence):
        raise OrderRefusedError("the order is for another roster than this site's roster.json: it was refused")
    if order.layout_digest != layout.digest:
        raise OrderRefusedError("the order is for another base model or adapter than this site's: it was refused")
    _check_groups(site, order)
    if order.purpose == "train" and order.round_number > recipe.rounds:
        raise OrderRefusedError(f"the order is for round {order.round_number} of a recipe of {recipe.rounds} rounds")
    if order.purpose == "evaluate" and not recipe.may_end_after(order.round_number - 1):
        stopping = "" if recipe.server.early_stopping is None else " or where server.early_stopping may end it"
        raise OrderRefusedError(
            f"the order is to evaluate in round {order.round_number}, but a run of {recipe.rounds} rounds evaluates by "
            f"itself once, after the last{stopping}: it was refused"
        )
    if order.attempt > most_attempts(recipe, site.roster):
        raise OrderRefusedError(
            f"the order is attempt {order.attempt} of a round, but with the recipe's sites.round_attempts of "
            f"{recipe.sites.round_attempts} and {len(site.roster)} sites there are no more than "
            f"{most_attempts(recipe, site.roster)}: it was refused"
        )
    shared = adapter_kind(recipe).shared(layout)
    site.policy.check_size(shared.size)
    if adapter.shape != (shared.size,):
        raise OrderRefusedError(f"the order's adapter has {adapter.size} parameters, not those of this site's layout")
    if order.round_number == 1:
        _check_start(order, recipe, adapter, layout)
    if not is_allowed_range(recipe, order.clip_range):
        raise OrderRefusedError(
            f"the order's range {order.clip_range:g} is none that the recipe allows: it was refused"
        )
    if not is_allowed(recipe, order.clip_norm):
        raise OrderRefusedError(f"the order's clipping norm {order.clip_norm:g} is not the recipe's: it was refused")
    if order.adapter_digest != vector_digest(adapter) or not np.isfinite(adapter).all():
        raise OrderRefusedError("the order's adapter is damaged: it was refused")


def _check_start(order: RoundOrder, recipe: Recipe, adapter: NDArray[np.float32], layout: AdapterLayout) -> None:
    kind = adapter_kind(recipe)
    tensors, shared = kind.initial(layout), kind.shared(layout)
    if recipe.continue_from is None:
        if order.adapter_digest != vector_digest(shared.flatten(tensors)):
            raise OrderRefusedError("the first round's adapter is not the one that the recipe gives: it was refused")
        return
    # With the part that does not travel, which is this site's own: what was trained beside another means nothing here.
    tensors.update(shared.unflatten(adapter))
    if vector_digest(layout.flatten(tensors)) != recipe.continue_from:
        raise OrderRefusedError(
            f"the first round's adapter is not {recipe.continue_from[:12]}, which the recipe goes on with "
            "(continue_from): it was refused"
        )


def _check_time(site: Site, now: datetime) -> None:
    site.policy.check_hours(now)
    if site.roster.has_expired(now):
        raise OrderRefusedError(
            f"this site's roster.json expired {site.roster.expires}: the order is refused until the coordinator has "
            "signed it anew"
        )


def _check_groups(site: Site, order: RoundOrder) -> None:
    recipe, sites = site.recipe, len(site.roster)
    if order.groups == recipe.sealing.groups:
        return  # the policy was asked about these when the site was opened
    if not may_regroup(recipe, sites, order.groups) or sites // order.groups < site.policy.minimum_sites:
        raise OrderRefusedError(
            f"the order deals the {sites} sites into {order.groups} groups, which neither the recipe's sealing.groups "
            "nor this site's policy allows: it was refused"
        )
