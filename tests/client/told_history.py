"""Chains of receipts, and how a site is told them."""

from __future__ import annotations

from collections.abc import Sequence

from sealora_client.round.history import History, Told
from sealora_common.receipts.receipt import Receipt
from sealora_common.roster import Roster
from sealora_common.round.order import RoundOrder

from pure_sites import pure_recipe
from quorum import Consortium, terms_for, transcript_of

RECIPE = pure_recipe()
HOME = Consortium(recipe_hash=RECIPE.hash)
NAMES = HOME.names
FLOOR = {"min_survivors": 3}


def lengthened(receipts: Sequence[Receipt], rounds: int = 1, *, world: str = "f", survivors=NAMES) -> list[Receipt]:
    """The chain some rounds later; another world is other adapters."""
    grown = list(receipts)
    for _ in range(rounds):
        order = HOME.order(grown)
        digest = f"{len(grown) + 1:02x}" + world * 62
        grown.append(HOME.receipt(order, digest, survivors=survivors, terms=terms_for(order, HOME.roster, **FLOOR)))
    return grown


CHAIN = lengthened([], 5)


def tell(
    history: History,
    told: Sequence[Receipt],
    order: RoundOrder | None = None,
    *,
    since: int = 0,
    rosters: Sequence[Roster] = (),
    roster: Roster = HOME.roster,
) -> None:
    """Tells a site the chain `told`, from the receipt after `since` on."""
    follows = order or HOME.order(told)
    history.take(history.check(Told(tuple(told[since:]), tuple(rosters)), follows, RECIPE, roster))


def take_part(history: History, told: Sequence[Receipt], survivors=NAMES, **changes) -> list[Receipt]:
    """One round as a good server and the site do it; returns the chain after it."""
    tell(history, told)
    order = HOME.order(told, **changes)
    history.confirm(order, transcript_of(order), survivors)
    return lengthened(told, survivors=survivors)
