"""What makes a chain of receipts a proof: checked by a site before it takes one, and by anybody offline.

With the rosters of the chain's rounds and nothing else, a chain that passes proves that every round was ordered by
the roster's server, that enough of the roster's sites signed one and the same session and set of survivors in exactly
that attempt, and that each order followed from the receipt before. It does not prove that the adapter was computed from
the opened sum: nobody but the server saw that. docs/sealing.md says so to people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sealora_common.errors import FederationError, OrderRefusedError, ReceiptError
from sealora_common.receipts.receipt import OpeningProof, Receipt
from sealora_common.recipe import Recipe
from sealora_common.roster import Roster
from sealora_common.round.groups import fewest_groups, groups_of, may_regroup, require_confirmed
from sealora_common.round.order import GENESIS, RoundOrder
from sealora_common.secagg import ProtocolError, RoundTerms, threshold_for
from sealora_common.secagg.bodies import Survivors
from sealora_common.secagg.messages import Kind, open_signed

_TELL = "tell the consortium's coordinator"


@dataclass(frozen=True)
class ProvenOpening:
    """What one opened sum of a round proves: that of all sites, or that of a group.

    Attributes:
        transcript: digest of the session that the sites confirmed (32 bytes).
        survivors: names of the sites in it.
        confirmed: names of the sites whose confirmations there are.
        needed: how many were needed.
    """

    transcript: bytes
    survivors: tuple[str, ...]
    confirmed: tuple[str, ...]
    needed: int


@dataclass(frozen=True)
class RoundProof:
    """What one receipt proves."""

    receipt: Receipt
    openings: tuple[ProvenOpening, ...]

    @property
    def confirmed(self) -> tuple[str, ...]:
        """Names of the sites whose confirmations it holds."""
        return tuple(sorted(name for opening in self.openings for name in opening.confirmed))

    @property
    def needed(self) -> int:
        """How many were needed."""
        return sum(opening.needed for opening in self.openings)


def check_chain(
    receipts: Sequence[Receipt],
    rosters: Mapping[str, Roster],
    *,
    after: Receipt | None = None,
    run: str | None = None,
    recipe: Recipe | None = None,
) -> list[RoundProof]:
    """Checks that `receipts` are successive rounds of one run, each ordered, confirmed and signed as it should be.

    Args:
        receipts: the chain, or its continuation.
        rosters: by hash (hex), those of the chain's rounds, their signatures checked.
        after: the receipt, checked before, that they continue; None for a chain from round 1 on.
        run: the run's identity (hex); None takes the first receipt's word for it.
        recipe: the run's; None takes the first receipt's word for its hash, and no more for granted than a threshold
            against a curious server.

    Raises:
        ReceiptError: names the first round that does not fit, and why.
        PolicyError: a roster names no server.
    """
    proofs = []
    first = after or (receipts[0] if receipts else None)
    for receipt in receipts:
        expected = 1 if after is None else after.round_number + 1
        try:
            if first is not None:
                _check_place(
                    receipt,
                    expected,
                    run=run or first.run,
                    recipe_hash=first.recipe_hash if recipe is None else recipe.hash,
                )
            _check_link(receipt, after)
            proofs.append(_proof(receipt, rosters, recipe))
        except (_UnfitError, ProtocolError) as error:
            raise ReceiptError(f"the receipt of round {expected} is refused: {error}") from None
        after = receipt
    return proofs


class _UnfitError(Exception):
    """Why a receipt does not fit, and what to do."""


def _check_place(receipt: Receipt, position: int, *, run: str, recipe_hash: str) -> None:
    order = receipt.order
    if order.round_number != position:
        raise _UnfitError(f"in its place is one of round {order.round_number}, so a round is missing or twice; {_TELL}")
    if order.purpose != "train":
        raise _UnfitError(f"its order is not to train; {_TELL}")
    if order.run != run:
        raise _UnfitError(f"it is of another run; {_TELL}")
    if order.recipe_hash != recipe_hash:
        raise _UnfitError(f"it is of recipe {order.recipe_hash[:12]}, the run's is {recipe_hash[:12]}; {_TELL}")


def _check_link(receipt: Receipt, after: Receipt | None) -> None:
    if receipt.previous != (GENESIS if after is None else after.hash):
        raise _UnfitError(f"its order does not follow from the receipt before; {_TELL}")
    if after is not None and receipt.order.roster_sequence < after.order.roster_sequence:
        raise _UnfitError(f"its order goes back to an earlier roster than the receipt before; {_TELL}")
    if after is not None and receipt.order.adapter_digest != after.adapter_digest:
        raise _UnfitError(f"its order's adapter is not the one of the receipt before; {_TELL}")


def _proof(receipt: Receipt, rosters: Mapping[str, Roster], recipe: Recipe | None) -> RoundProof:
    roster = rosters.get(receipt.roster_hash)
    if roster is None:
        known = ", ".join(digest[:12] for digest in rosters) or "none"
        raise _UnfitError(
            f"it is under roster {receipt.roster_hash[:12]}, which is not at hand ({known} is): "
            "get the roster of that time from the coordinator"
        )
    if not receipt.order.is_signed_by(roster.server_key, receipt.order_signature):
        raise _UnfitError(f"its order is not signed by the roster's server; {_TELL}")
    if not receipt.is_signed_by(roster.server_key):
        raise _UnfitError(f"it is not signed by the roster's server; {_TELL}")
    if receipt.order.roster_sequence != roster.sequence:
        raise _UnfitError(
            f"its order is under a roster of number {receipt.order.roster_sequence}, and that has number "
            f"{roster.sequence}; {_TELL}"
        )
    groups = {group.hash: group for group in _groups(receipt.order, roster)}
    if recipe is not None:
        _check_groups(receipt, len(roster), recipe)
    openings = []
    for opening in receipt.openings:
        terms = RoundTerms.from_bytes(opening.terms)
        group = groups.pop(terms.roster_hash, None)
        if group is None:
            raise _UnfitError(f"its terms are not those of its order and roster; {_TELL}")
        _check_terms(terms, receipt, group, recipe)
        senders, survivors = _quorum(opening, terms, group)
        names = tuple(group.names[index] for index in survivors.indices)
        confirmed = tuple(group.names[sender] for sender in sorted(senders))
        openings.append(ProvenOpening(survivors.transcript, names, confirmed, terms.needed))
    if tuple(sorted(name for opening in openings for name in opening.survivors)) != receipt.survivors:
        raise _UnfitError(f"it names other survivors than its sites confirmed; {_TELL}")
    proof = RoundProof(receipt, tuple(openings))
    try:
        require_confirmed(len(proof.confirmed), len(roster))
    except FederationError as error:
        raise _UnfitError(f"{error}; {_TELL}") from None
    return proof


def _check_groups(receipt: Receipt, roster_size: int, recipe: Recipe) -> None:
    """Refuses groups that no honest site would have let itself be dealt into: their quorums are small."""
    groups = receipt.order.groups
    if groups != recipe.sealing.groups and not may_regroup(recipe, roster_size, groups):
        raise _UnfitError(f"its order deals the sites into {groups} groups, which the recipe does not allow; {_TELL}")
    if len(receipt.openings) < fewest_groups(recipe):
        raise _UnfitError(f"it opens {len(receipt.openings)} groups, too few for a round to stand; {_TELL}")


def _groups(order: RoundOrder, roster: Roster) -> tuple[Roster, ...]:
    try:
        return groups_of(order, roster)
    except OrderRefusedError as error:
        raise _UnfitError(str(error)) from None


def _check_terms(terms: RoundTerms, receipt: Receipt, roster: Roster, recipe: Recipe | None) -> None:
    order = receipt.order
    bound = (terms.run.hex(), terms.round_number, terms.attempt, terms.recipe_hash.hex())
    of_order = (order.run, order.round_number, order.attempt, order.recipe_hash)
    if bound != of_order or terms.order_digest != order.digest or terms.roster_size != len(roster):
        raise _UnfitError(f"its terms are not those of its order and roster; {_TELL}")
    threshold = threshold_for(len(roster), "curious" if recipe is None else recipe.sealing.adversary)
    floor = terms.min_survivors if recipe is None else recipe.sealing.min_survivors
    if terms.threshold < threshold or terms.min_survivors < floor:
        raise _UnfitError(
            f"its terms ask for {terms.threshold} confirmations and {terms.min_survivors} survivors, "
            f"the least of {len(roster)} sites is {threshold} and {floor}; {_TELL}"
        )


def _quorum(opening: OpeningProof, terms: RoundTerms, roster: Roster) -> tuple[set[int], Survivors]:
    """Who confirmed, and the one session and set that all of them did."""
    senders: set[int] = set()
    confirmed: Survivors | None = None
    for message in opening.confirmations:
        sender, body = open_signed(message, Kind.CONFIRM, terms, roster)
        survivors = Survivors.from_bytes(body)
        if sender in senders:
            raise _UnfitError(f"it holds two confirmations of {roster.names[sender]!r}; {_TELL}")
        if confirmed is not None and survivors != confirmed:
            raise _UnfitError(f"its sites confirmed different sessions or survivors; {_TELL}")
        if sender not in survivors.indices:
            raise _UnfitError(f"{roster.names[sender]!r} confirmed survivors that it is none of; {_TELL}")
        senders.add(sender)
        confirmed = survivors
    if confirmed is None or len(senders) < terms.needed:
        raise _UnfitError(
            f"only {len(senders)} sites confirmed it, {terms.needed} of {len(roster)} are needed; {_TELL}"
        )
    if confirmed.indices[-1] >= len(roster):
        raise _UnfitError(f"its sites confirmed a survivor that is not on the roster; {_TELL}")
    return senders, confirmed
