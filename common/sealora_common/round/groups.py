"""Sealing in groups: who is in which group of a round, which everybody works out alike.

With `sealing.groups` each round's sites are dealt into that many groups, each group's sum is sealed and opened by
itself, and the mean of all is replaced by what `sealing.combine` makes of the groups' means (`robust_mean`), so that
the groups without a liar outvote those with one. Dealing before a robust combination is the bucketing of Karimireddy,
He & Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing" (ICLR 2022, arXiv:2006.09365); sums of
groups under a seal those of So, Güler & Avestimehr, "Byzantine-Resilient Secure Federated Learning" (IEEE JSAC 2021,
arXiv:2007.11115) and of Velicheti, Xia & Koyejo, "Secure Byzantine-Robust Distributed Learning via Clustering" (2021,
arXiv:2110.02940).

The whole roster is dealt, not the sites that are ready: nonce and roster are all that a site needs to work out its
group, and a server cannot shape one by saying who is ready. A group of which too few answer is left out.

A group is a roster of its own to the sealing protocol: the same keys, fewer members, another hash. Keys, shares and
signatures of one group are nothing in another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sealora_common.errors import FederationError, OrderRefusedError, RecipeError
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster
from sealora_common.round.order import RoundOrder
from sealora_common.secagg.terms import most_corrupted

_DEALT_AS = b"sealora groups v1\n"


def groups_of(order: RoundOrder, roster: Roster) -> tuple[Roster, ...]:
    """The groups of the order's round, each as the roster of its members; without groups, `roster` itself.

    The names are put in the order of SHA-256("sealora groups v1\\n", the order's nonce, the name) and dealt in turn,
    as cards are, so the groups' sizes differ by one at most and every attempt has new ones.

    Raises:
        OrderRefusedError: there would be groups of fewer than two.
    """
    if order.groups == 1:
        return (roster,)
    if len(roster) // order.groups < 2:
        raise OrderRefusedError(
            f"{len(roster)} sites cannot be dealt into {order.groups} groups: the order was refused"
        )
    dealt = deal(roster.names, order.groups, order.nonce)
    return tuple(roster.subset(names) for names in dealt)


def deal(names: Sequence[str], groups: int, nonce: str) -> tuple[tuple[str, ...], ...]:
    """The names in so many groups, as `groups_of` puts it.

    Args:
        names: of the whole roster.
        groups: at most as many as there are names.
        nonce: 16 bytes, hexadecimal.
    """
    salt = _DEALT_AS + bytes.fromhex(nonce)
    shuffled = sorted(names, key=lambda name: hashlib.sha256(salt + name.encode()).digest())
    return tuple(tuple(shuffled[first::groups]) for first in range(groups))


def group_of(order: RoundOrder, roster: Roster, site: str) -> Roster:
    """The group of `site`.

    Raises:
        OrderRefusedError: the roster is too small for so many groups.
        PolicyError: no such site is on the roster.
    """
    roster.index(site)
    return next(group for group in groups_of(order, roster) if site in group.names)


def smallest_group(recipe: Recipe, roster_size: int) -> int:
    """Members of the smallest group that a roster of this size is dealt into."""
    return roster_size // recipe.sealing.groups


def require_dealable(recipe: Recipe, roster_size: int) -> None:
    """Refuses a roster of which no groups can be made whose sums may be opened.

    Raises:
        RecipeError: a group would have fewer members than `sealing.min_survivors`.
    """
    sealing = recipe.sealing
    if sealing.groups > 1 and smallest_group(recipe, roster_size) < sealing.min_survivors:
        raise RecipeError(
            f"sealing.groups is {sealing.groups}, and of {roster_size} sites some group would have "
            f"{smallest_group(recipe, roster_size)}, fewer than sealing.min_survivors {sealing.min_survivors}: take "
            "fewer groups or more sites"
        )


def may_regroup(recipe: Recipe, roster_size: int, groups: int) -> bool:
    """Whether an order may deal the sites into groups though the recipe seals all as one.

    Only where each site's vector carries its own promise, and each group may be opened: then a sum that somebody has
    spoilt need not be lost for all.
    """
    sealing = recipe.sealing
    may = sealing.groups == 1 and mechanism_of(recipe).may_regroup
    return may and groups > 1 and roster_size // groups >= sealing.min_survivors


def fewest_groups(recipe: Recipe) -> int:
    """Fewest groups that must be opened for a round to stand: of fewer than three none outvotes another."""
    sealing = recipe.sealing
    if sealing.groups == 1:
        return 1
    return max(3, sealing.fewest_combined)


def require_confirmed(confirmed: int, roster_size: int) -> None:
    """Refuses a round that nobody but turned members may have confirmed.

    Whoever issues the order can deal all of them into a few groups, whose quorums they then are.

    Args:
        confirmed: sites whose confirmations opened its sums, all groups together.
        roster_size: sites of the whole roster.

    Raises:
        FederationError: they are no more than can be corrupted.
    """
    if confirmed <= most_corrupted(roster_size):
        raise FederationError(
            f"only {confirmed} sites confirmed it in all groups, and of {roster_size} as many can be corrupted"
        )
