"""The server's part in one sealed round (Bonawitz et al., CCS 2017, figure 4, the server's side).

The server is honest here for its own sake only: it checks what it receives so that one bad message costs one
site and not the round. Nothing the sites' secrecy rests on depends on these checks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from sealora_common.roster import Roster
from sealora_common.secagg import keys, shares
from sealora_common.secagg.errors import ProtocolError, TooFewSitesError
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.masks import apply_masks
from sealora_common.secagg.messages import (
    Advertisement,
    Envelopes,
    Kind,
    MaskRequest,
    MaskStatement,
    Opening,
    ShareKind,
    Survivors,
    bundle,
    open_signed,
    split_masked,
    transcript_digest,
)
from sealora_common.secagg.ring import RingVector
from sealora_common.secagg.terms import RoundTerms


class Collecting(IntEnum):
    """Which messages the server takes now."""

    ADVERTISEMENTS = 1
    SHARES = 2
    MASKED = 3
    CONFIRMATIONS = 4
    OPENINGS = 5
    NOTHING = 6


@dataclass(frozen=True)
class OpenedSum:
    """The sum of the survivors' vectors, unmasked.

    Attributes:
        vector: the sum.
        survivors: whose vectors are in it (indices of the roster).
        confirmations: the survivors' signed confirmations, by sender; a receipt shows them.
    """

    vector: RingVector
    survivors: tuple[int, ...]
    confirmations: tuple[bytes, ...] = ()


class ServerSession:
    """The server in a round: collect one kind of message, close the stage, send what it returns, and so on.

    Its memory is one accumulator of the vector's size, whatever the number of sites.
    """

    def __init__(self, terms: RoundTerms, roster: Roster) -> None:
        self._terms = terms
        self._roster = roster
        self._collecting = Collecting.ADVERTISEMENTS
        self._advertised: dict[int, tuple[Advertisement, bytes]] = {}
        self._shared: dict[int, dict[int, bytes]] = {}
        self._transcript = b""  # known once the sharers are
        self._masked: dict[int, bytes] = {}
        self._sum = RingVector.zeros(terms.segments)
        self._confirmed: dict[int, bytes] = {}
        self._openings: dict[int, Opening] = {}

    @property
    def survivors(self) -> tuple[int, ...]:
        """The sites whose masked vectors have come in."""
        return tuple(sorted(self._masked))

    def add_advertisement(self, message: bytes) -> int:
        """Takes a site's advertisement; returns its index. Raises ProtocolError if it is bad or the second."""
        sender, body = self._open(message, Kind.ADVERTISE, Collecting.ADVERTISEMENTS)
        self._refuse_second(sender in self._advertised)
        advertisement = Advertisement.from_bytes(body)
        new = (advertisement.share_public, advertisement.mask_public)
        taken = {key for known, _ in self._advertised.values() for key in (known.share_public, known.mask_public)}
        if len({*new} - taken) < len(new) or not all(map(keys.is_usable, new)):
            raise ProtocolError("a site advertised a key that every site would refuse: it is left out")
        self._advertised[sender] = (advertisement, message)
        return sender

    def close_advertisements(self) -> dict[int, bytes]:
        """Returns the request for the next stage by site: everyone's keys. Raises TooFewSitesError."""
        self._close(Collecting.SHARES, len(self._advertised), "are ready")
        everyone = bundle([message for _, (_, message) in sorted(self._advertised.items())])
        return dict.fromkeys(self._advertised, everyone)

    def add_shares(self, message: bytes) -> int:
        """Takes a site's encrypted shares; returns its index. Raises ProtocolError."""
        sender, body = self._open(message, Kind.SHARE, Collecting.SHARES)
        self._refuse_second(sender in self._shared)
        ciphertexts = Envelopes.from_bytes(body).ciphertexts
        drawn = set(ciphertexts)
        if sender in drawn or not drawn <= set(self._advertised) or len(drawn) != self._neighbourhood.neighbours:
            raise ProtocolError("a site did not share with as many of the others as it should: it is left out")
        self._shared[sender] = ciphertexts
        return sender

    def close_shares(self) -> dict[int, bytes]:
        """Returns the request for the next stage by site: the shares meant for it. Raises TooFewSitesError."""
        self._close(Collecting.MASKED, len(self._shared), "shared their keys")
        sharers = tuple(sorted(self._shared))
        advertised = {sender: advertisement for sender, (advertisement, _) in self._advertised.items()}
        self._transcript = transcript_digest(advertised, sharers)
        requests = {}
        for recipient in sharers:
            meant = {sender: sent[recipient] for sender, sent in self._shared.items() if recipient in sent}
            requests[recipient] = MaskRequest(sharers, Envelopes(meant)).to_bytes()
        return requests

    def add_masked(self, message: bytes) -> int:
        """Adds a site's masked vector to the sum; returns its index. Raises ProtocolError."""
        signed, packed = split_masked(message)
        sender, body = self._open(signed, Kind.MASK, Collecting.MASKED)
        self._refuse_second(sender in self._masked)
        statement = MaskStatement.from_bytes(body)
        if sender not in self._shared or statement.transcript != self._transcript:
            raise ProtocolError("a site masked under other keys or sharers: its vector was refused")
        if statement.vector_digest != hashlib.sha256(packed).digest():
            raise ProtocolError("a site's masked vector is not the one it signed: it was refused")
        self._sum.add_(RingVector.unpack(packed, self._terms.segments))
        self._masked[sender] = signed
        return sender

    def close_masked(self) -> dict[int, bytes]:
        """Returns the request for the next stage by site: the survivors' statements. Raises TooFewSitesError."""
        self._close(Collecting.CONFIRMATIONS, len(self._masked), "sent their vectors")
        everyone = bundle([signed for _, signed in sorted(self._masked.items())])
        return dict.fromkeys(self._masked, everyone)

    def add_confirmation(self, message: bytes) -> int:
        """Takes a site's signature over the survivors; returns its index. Raises ProtocolError."""
        sender, body = self._open(message, Kind.CONFIRM, Collecting.CONFIRMATIONS)
        self._refuse_second(sender in self._confirmed)
        if sender not in self._masked or Survivors.from_bytes(body) != Survivors(self._transcript, self.survivors):
            raise ProtocolError("a site confirmed another set of survivors: it was refused")
        self._confirmed[sender] = message
        return sender

    def close_confirmations(self) -> dict[int, bytes]:
        """Returns the request for the next stage by site: all confirmations. Raises TooFewSitesError."""
        self._close(Collecting.OPENINGS, len(self._confirmed), "confirmed the survivors")
        everyone = bundle([message for _, message in sorted(self._confirmed.items())])
        return dict.fromkeys(self._confirmed, everyone)

    def add_opening(self, message: bytes) -> int:
        """Takes a site's shares of its peers' secrets; returns its index. Raises ProtocolError."""
        sender, body = self._open(message, Kind.OPEN, Collecting.OPENINGS)
        self._refuse_second(sender in self._openings)
        opening = Opening.from_bytes(body)
        expected = {
            owner: ShareKind.SELF_MASK if owner in self._masked else ShareKind.MASK_KEY
            for owner, sent in self._shared.items()
            if sender == owner or sender in sent
        }
        if {owner: kind for owner, (kind, _, _) in opening.shares.items()} != expected:
            raise ProtocolError("a site opened other shares than it was asked for: it was refused")
        self._openings[sender] = opening
        return sender

    def open(self) -> OpenedSum:
        """Restores the secrets, takes the masks off and returns the sum.

        Raises:
            TooFewSitesError: fewer openings came in than the threshold.
            ProtocolError: a restored mask key does not fit the advertised one: a site sent a false share.
        """
        self._close(Collecting.NOTHING, len(self._openings), "sent their shares")
        minus: list[bytes] = []
        plus: list[bytes] = []
        for survivor in self.survivors:
            seed = self._restore(survivor)
            minus.append(keys.self_mask_key(seed, survivor, self._terms.digest))
        for dropped in sorted(set(self._shared) - set(self._masked)):
            private = self._restore(dropped)
            if keys.public_key(private) != self._advertised[dropped][0].mask_public:
                name = self._roster.names[dropped]
                raise ProtocolError(f"the shares of dropped site {name!r} do not restore its key: the round is void")
            for survivor in self.survivors:
                if survivor not in self._shared[dropped] and dropped not in self._shared[survivor]:
                    continue  # not neighbours
                public = self._advertised[survivor][0].mask_public
                key = keys.mask_key(private, public, dropped, survivor, self._terms.digest)
                # The survivor added this mask if its index is the lower one.
                (minus if survivor < dropped else plus).append(key)
        apply_masks(self._sum, plus, minus)
        self._sum.reduce_()
        confirmations = tuple(message for _, message in sorted(self._confirmed.items()))
        return OpenedSum(self._sum, self.survivors, confirmations)

    def _restore(self, owner: int) -> bytes:
        openings = [opening.shares[owner] for opening in self._openings.values() if owner in opening.shares]
        held = {point: share for _, point, share in openings}
        if len(held) < self._neighbourhood.threshold:
            raise TooFewSitesError(
                f"only {len(held)} holders of site {self._roster.names[owner]!r} sent their shares, "
                f"{self._neighbourhood.threshold} are needed: the round is aborted and nothing was opened"
            )
        return shares.combine(held, self._neighbourhood.threshold)

    @property
    def _neighbourhood(self) -> Neighbourhood:
        return self._terms.neighbourhood(len(self._advertised))

    def _open(self, message: bytes, kind: Kind, collecting: Collecting) -> tuple[int, bytes]:
        if self._collecting is not collecting:
            raise ProtocolError(f"a {kind.name.lower()} message came out of turn: it was refused")
        return open_signed(message, kind, self._terms, self._roster)

    def _refuse_second(self, seen: bool) -> None:
        if seen:
            raise ProtocolError("a site answered a stage twice: the second answer was refused")

    def _close(self, following: Collecting, count: int, did: str) -> None:
        if self._collecting + 1 != following:
            raise ProtocolError(f"the stage {self._collecting.name.lower()} cannot be closed as if it were another")
        if count < self._terms.needed:
            raise TooFewSitesError(
                f"only {count} of {self._terms.roster_size} sites {did}, {self._terms.needed} are needed: "
                "the round is aborted and nothing was opened"
            )
        self._collecting = following
