"""Takes the adapter that a run ended with, once it is known to be the one that this site's receipts name.

The server is not trusted: the chain of receipts must go on from this site's own, each round confirmed by enough sites;
the run must end where the recipe lets it; and the adapter must be, bit for bit, one that a receipt names, the last one
unless the recipe keeps the best. Receipts are written before the adapter, so that after a crash between the two the
adapter comes again and finds its receipts here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_client.delivery.kept_run import KeptRun
from sealora_client.round.course import run_text
from sealora_client.round.history import History, Told
from sealora_client.round.paid_receipts import require_paid
from sealora_client.round.run_id import RUN_ID
from sealora_client.site.directory import Site
from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.errors import OrderRefusedError, UnreadableError
from sealora_common.health.logs import fields
from sealora_common.receipts.conclusion import Conclusion
from sealora_common.recipe import Recipe
from sealora_common.round.hello import parse_layout
from sealora_common.round.holding import Holding
from sealora_common.round.order import vector_digest

_REFUSED = "it was refused; tell the consortium's coordinator"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivered:
    """What came with a delivery, read but not checked.

    Attributes:
        conclusion: how the run ended, as the server says.
        layout: the adapter's, as JSON.
        adapter: its shared part, flat, float32.
        told: receipts that this site lacks, and the rosters they are under.
    """

    conclusion: Conclusion
    layout: bytes
    adapter: NDArray[np.float32]
    told: Told


def holding(site: Site, run: str) -> Holding:
    """What this site has of a run.

    Raises:
        OrderRefusedError: that is no run's id.
        PolicyError: a file of this site's is damaged.
    """
    if not RUN_ID.fullmatch(run):
        raise OrderRefusedError("what the server asked for is no run: it was refused")
    kept = KeptRun(site.directory, run)
    conclusion = kept.conclusion
    has = conclusion is not None and kept.has(conclusion)
    return Holding(
        run=run,
        receipts=History(site.directory, run).count,
        adapter_digest=conclusion.adapter_digest if conclusion is not None and has else None,
    )


def take_delivery(site: Site, delivered: Delivered) -> Holding:
    """Checks all of it, then keeps it.

    Raises:
        OrderRefusedError, ReceiptError: it is not what this site's receipts name, or these name rounds that its ledger
            does not know.
        PolicyError, StorageError: a file of this site's is damaged, or could not be written.
    """
    conclusion = delivered.conclusion
    kept = KeptRun(site.directory, conclusion.run)
    recipe = _agreed(site, kept, conclusion)
    told_before = kept.conclusion
    if told_before is not None and not told_before.says_the_same_as(conclusion):
        raise OrderRefusedError(
            f"two faces: this site was told before that run {conclusion.run[:12]} ended with another adapter "
            f"({told_before.adapter_digest[:12]}, now {conclusion.adapter_digest[:12]}): {_REFUSED}"
        )
    history = History(site.directory, conclusion.run)
    checked = history.check_end(delivered.told, conclusion, recipe, site.roster)
    layout = _layout(delivered.layout, conclusion)
    kind = adapter_kind(recipe)
    shared = kind.shared(layout)
    site.policy.check_size(shared.size)
    if delivered.adapter.shape != (shared.size,) or not np.isfinite(delivered.adapter).all():
        raise OrderRefusedError(f"the run's adapter does not fit its layout, or holds what is no number: {_REFUSED}")
    if vector_digest(delivered.adapter) != conclusion.adapter_digest:
        raise OrderRefusedError(
            f"the adapter that came is not the one that the receipt of round {conclusion.kept_round} names: {_REFUSED}"
        )
    # Once the receipts are written down no order brings them any more, so none would find out what they tell.
    require_paid(site, conclusion.run, [*history.receipts, *checked.receipts], recipe)
    history.take(checked)
    if not kept.has(conclusion):
        tensors = kind.initial(layout)
        tensors.update(shared.unflatten(delivered.adapter))
        kept.keep(conclusion, tensors, recipe)
        _tell(kept, recipe, conclusion)
    return holding(site, conclusion.run)


def _agreed(site: Site, kept: KeptRun, conclusion: Conclusion) -> Recipe:
    """The run's recipe as this site agreed to it: the one it took part under, else its present one."""
    recipe = kept.recipe or site.recipe
    if recipe.hash != conclusion.recipe_hash:
        raise OrderRefusedError(
            f"the adapter is of recipe {conclusion.recipe_hash[:12]}, this site agreed to {recipe.hash[:12]}: it was "
            "refused"
        )
    return recipe


def _layout(content: bytes, conclusion: Conclusion) -> AdapterLayout:
    try:
        layout = parse_layout(content)
    except UnreadableError as error:
        raise OrderRefusedError(f"the adapter's layout is malformed ({error}): {_REFUSED}") from None
    if layout.digest != conclusion.layout_digest:
        raise OrderRefusedError(f"the adapter's layout is not the one of the run's orders: {_REFUSED}")
    return layout


def _tell(kept: KeptRun, recipe: Recipe, conclusion: Conclusion) -> None:
    log.info(
        "%s: its adapter, of round %d, is in %s, as its receipts name it: `sealora-site chat %s` tries it",
        run_text(conclusion.run, recipe.name),
        conclusion.kept_round,
        kept.adapter_directory,
        conclusion.run[:12],
        extra=fields(run=conclusion.run),
    )
