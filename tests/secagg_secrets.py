"""What can be computed of the secrets of a session from what was sent in it, by the statement that a secret belongs to.

More general than `secagg_attacker.Attacker`, which knows one session: here sites may have several, and statements too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sealora_common.errors import FederationError
from sealora_common.secagg import SiteSession, keys, shares
from sealora_common.secagg.bodies import Disclosure, Given, Opening, ShareKind, ShareMessage, ShareStatement
from sealora_common.secagg.faults import share_fits
from sealora_common.secagg.messages import Kind, content_digest

from secagg_attacker import body_of
from secagg_runs import Federation


@dataclass
class Sent:
    """A message of the share stage, parsed."""

    owner: int
    share: ShareMessage
    statement: ShareStatement

    @property
    def digest(self) -> bytes:
        return content_digest(self.share.signed)


class Secrets:
    """All that was sent in the share stage of some sessions, and the secrets that are known of it."""

    def __init__(self, federation: Federation, sent: Sequence[Sent]) -> None:
        self._federation = federation
        self._terms = federation.terms
        self._sent = sent
        self._shares: dict[tuple[bytes, ShareKind], dict[int, bytes]] = defaultdict(dict)
        self._mask_seeds: dict[bytes, bytes] = {}
        self._self_masks: dict[bytes, bytes] = {}
        self._contributions: dict[tuple[int, int], set[bytes]] = defaultdict(set)

    def open_as_holder(self, holder: int, session: SiteSession) -> None:
        """Opens all envelopes to a site whose session's seeds are known."""
        pairs = (session._state.share_pair(), session._state.mask_pair())
        for sent in self._sent:
            if holder in sent.share.envelopes:
                with suppress(FederationError):
                    envelope = sent.share.envelopes[holder]
                    self.take(sent, holder, envelope.unseal(*pairs, sent.owner, holder, self._terms.digest))

    def take(self, sent: Sent, holder: int, given: Given) -> None:
        """Notes what an owner gave to a holder."""
        self._shares[sent.digest, ShareKind.SELF_MASK][holder] = given.self_mask
        self._shares[sent.digest, ShareKind.MASK_SEED][holder] = given.mask_seed
        self._contributions[sent.owner, holder].add(given.contribution)

    def take_disclosure(self, sent: Sent, message: bytes) -> None:
        """Notes what the owner of `sent` disclosed."""
        for holder, given in Disclosure.from_bytes(body_of(message, Kind.DISCLOSE, self._federation)).given.items():
            self.take(sent, holder, given)

    def take_opening(self, own: Sent, message: bytes) -> None:
        """Notes what the owner of `own` opened: its self-mask, and shares of whichever statements they fit."""
        opening = Opening.from_bytes(body_of(message, Kind.OPEN, self._federation))
        self._self_masks[own.digest] = opening.self_mask
        for sent in self._sent:
            if sent.owner in opening.shares and own.owner in sent.statement.neighbours:
                kind, share = opening.shares[sent.owner]
                if share_fits(sent.statement, sent.owner, own.owner, kind, share, self._terms.digest):
                    self._shares[sent.digest, kind][own.owner] = share

    def restore(self) -> None:
        """Combines shares, and opens what was sent to sites whose mask seeds are known by then."""
        for sent in self._sent:
            holders = sorted((*sent.statement.neighbours, sent.owner))
            threshold = self._terms.neighbourhood(len(holders)).threshold  # complete graph: all that advertised
            for kind, restored in ((ShareKind.SELF_MASK, self._self_masks), (ShareKind.MASK_SEED, self._mask_seeds)):
                held = self._shares[sent.digest, kind]
                if len(held) >= threshold:
                    points = {holders.index(holder) + 1: share for holder, share in held.items()}
                    restored[sent.digest] = shares.combine(points, threshold)
        for sent in self._sent:
            if sent.digest in self._mask_seeds:
                self._use_mask_seed(sent, self._mask_seeds[sent.digest])

    def stream_keys(self) -> set[bytes]:
        """Keys of all mask streams that follow from what is known."""
        digest, size = self._terms.digest, self._terms.roster_size
        known = {
            keys.self_mask_key(self._self_masks[sent.digest], sent.owner, digest)
            for sent in self._sent
            if sent.digest in self._self_masks
        }
        for lower in range(size):
            for higher in range(lower + 1, size):
                of_lower: Collection[bytes | None] = [None, *self._contributions[lower, higher]]
                of_higher: Collection[bytes | None] = [None, *self._contributions[higher, lower]]
                known |= {
                    keys.mask_key(one, other, lower, higher, digest)
                    for one in of_lower
                    for other in of_higher
                    if one is not None or other is not None
                }
        return known

    def _use_mask_seed(self, sent: Sent, seed: bytes) -> None:
        digest = self._terms.digest
        for holder in sent.statement.neighbours:
            self._contributions[sent.owner, holder].add(keys.contribution(seed, sent.owner, holder, digest))
        pair = keys.KeyPair(seed)
        for other in self._sent:
            if sent.owner in other.share.envelopes:
                with suppress(FederationError):
                    opened = other.share.envelopes[sent.owner].unseal_contribution(
                        pair, other.owner, sent.owner, digest
                    )
                    self._contributions[other.owner, sent.owner].add(opened)
