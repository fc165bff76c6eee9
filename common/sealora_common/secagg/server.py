"""The server's part in one sealed round (Bonawitz et al., CCS 2017, figure 4, the server's side).

The server is honest here for its own sake only: it checks what it receives so that one bad message costs one
site and not the round, and keeps what shows to others that a site broke the protocol. Nothing the sites' secrecy rests
on depends on these checks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from sealora_common.roster import Roster
from sealora_common.secagg.bodies import (
    Advertisement,
    CheckRequest,
    CheckStatement,
    Disclosure,
    Envelope,
    MaskRequest,
    MaskStatement,
    Opening,
    ShareKind,
    ShareMessage,
    ShareStatement,
    Survivors,
    split_masked,
)
from sealora_common.secagg.errors import ProtocolError, TooFewSitesError
from sealora_common.secagg.faults import Fault, FaultKind
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.masks import apply_batches
from sealora_common.secagg.messages import Kind, bundle, content_digest, open_signed
from sealora_common.secagg.requests import Requests
from sealora_common.secagg.ring import RingVector
from sealora_common.secagg.terms import RoundTerms, most_corrupted
from sealora_common.secagg.transcript import Shared, Transcript, keys_digest, table_bytes
from sealora_common.secagg.unmasking import Unmasking

_MOST_THREADS = 8


class Collecting(IntEnum):
    """Which messages the server takes now."""

    ADVERTISEMENTS = 1
    SHARES = 2
    CHECKS = 3
    DISCLOSURES = 4
    MASKED = 5
    CONFIRMATIONS = 6
    OPENINGS = 7
    NOTHING = 8


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

    Args:
        terms: of the round.
        roster: the sites that are sealed together.
        whole: the roster that they are a group of; None if they are all of it.

    Attributes:
        faults: sites that broke the protocol so far, with evidence.
    """

    def __init__(self, terms: RoundTerms, roster: Roster, whole: Roster | None = None) -> None:
        self.faults: list[Fault] = []
        self._terms = terms
        self._roster = roster
        of_all = roster.names if whole is None else whole.names
        self._members = () if of_all == roster.names else tuple(map(of_all.index, roster.names))
        self._corrupted = most_corrupted(len(of_all))
        self._collecting = Collecting.ADVERTISEMENTS
        self._advertised: dict[int, tuple[Advertisement, bytes]] = {}
        self._shared: dict[int, ShareMessage] = {}
        self._statements: dict[int, ShareStatement] = {}
        self._transcript = Transcript({}, {})
        self._checks: dict[int, tuple[CheckStatement, bytes]] = {}
        self._disclosed: dict[int, tuple[Disclosure, bytes]] = {}
        self._masked: dict[int, bytes] = {}
        self._sum = RingVector.zeros(terms.segments)
        self._confirmed: dict[int, bytes] = {}
        self._openings: dict[int, tuple[Opening, bytes]] = {}

    @property
    def survivors(self) -> tuple[int, ...]:
        """The sites whose masked vectors have come in."""
        return tuple(sorted(self._masked))

    def add_advertisement(self, message: bytes) -> int:
        """Takes a site's advertisement; returns its index. Raises ProtocolError if it is bad or the second."""
        sender, body = self._open(message, Kind.ADVERTISE, Collecting.ADVERTISEMENTS)
        self._refuse_second(sender in self._advertised)
        advertisement = Advertisement.from_bytes(body)
        new = set(advertisement.parts)
        taken = {part for known, _ in self._advertised.values() for part in known.parts}
        if len(new - taken) < len(advertisement.parts) or not advertisement.is_usable:
            raise ProtocolError("a site advertised a key that every site would refuse: it is left out")
        self._advertised[sender] = (advertisement, message)
        return sender

    def close_advertisements(self) -> dict[int, bytes]:
        """Returns the request for the next stage by site: everyone's keys. Raises TooFewSitesError."""
        self._close(Collecting.SHARES, len(self._advertised), "are ready")
        digests = {sender: advertisement.digest for sender, (advertisement, _) in self._advertised.items()}
        self._transcript = Transcript(digests, {})
        everyone = bundle([message for _, (_, message) in sorted(self._advertised.items())])
        return dict.fromkeys(self._advertised, everyone)

    def add_shares(self, message: bytes) -> int:
        """Takes a site's encrypted shares; returns its index. Raises ProtocolError."""
        share = ShareMessage.from_bytes(message)
        sender, body = self._open(share.signed, Kind.SHARE, Collecting.SHARES)
        self._refuse_second(sender in self._shared)
        statement = ShareStatement.from_bytes(body)
        drawn = set(statement.neighbours)
        if sender in drawn or not drawn <= set(self._advertised) or len(drawn) != self._neighbourhood.neighbours:
            raise ProtocolError("a site did not share with as many of the others as it should: it is left out")
        sent = tuple(envelope.digest for _, envelope in sorted(share.envelopes.items()))
        told_keys = keys_digest(self._transcript.keys)
        if set(share.envelopes) != drawn or sent != statement.envelopes or statement.keys_digest != told_keys:
            raise ProtocolError("a site's envelopes are not those of its statement: it is left out")
        self._shared[sender] = share
        self._statements[sender] = statement
        return sender

    def close_shares(self) -> Mapping[int, bytes]:
        """Returns the request for the next stage by site: the envelopes meant for it. Raises TooFewSitesError."""
        self._close(Collecting.CHECKS, len(self._shared), "shared their keys")
        table = {
            sender: Shared(content_digest(share.signed), self._statements[sender].neighbours)
            for sender, share in self._shared.items()
        }
        self._transcript = Transcript(self._transcript.keys, table)
        told = table_bytes(table)

        def request(recipient: int) -> bytes:
            meant: dict[int, tuple[bytes, Envelope]] = {
                sender: (share.signed, share.envelopes[recipient])
                for sender, share in self._shared.items()
                if recipient in share.envelopes
            }
            return told + CheckRequest.sent_bytes(meant)

        return Requests(sorted(self._shared), request)

    def add_check(self, message: bytes) -> int:
        """Takes a site's word that it has checked its envelopes; returns its index. Raises ProtocolError."""
        sender, body = self._open(message, Kind.CHECK, Collecting.CHECKS)
        self._refuse_second(sender in self._checks)
        checked = CheckStatement.from_bytes(body)
        if sender not in self._shared or checked.transcript != self._transcript.shared_digest:
            raise ProtocolError("a site checked other keys or shares: it is left out")
        if not all(site in self._shared and sender in self._shared[site].envelopes for site in checked.complaints):
            raise ProtocolError("a site complains of one that sent it nothing: it is left out")
        self._checks[sender] = (checked, message)
        return sender

    def close_checks(self) -> dict[int, bytes]:
        """Returns the complaints to answer by site, of those that are complained of. Raises TooFewSitesError."""
        self._close(Collecting.DISCLOSURES, len(self._checks), "checked their shares")
        requests = {}
        for accused in sorted({site for checked, _ in self._checks.values() for site in checked.complaints}):
            complaints = [self._checks[site][1] for site in sorted(self._complainers(accused))]
            if len(complaints) > max(1, self._corrupted):
                self._fault(accused, FaultKind.COMPLAINTS, tuple(complaints))
            elif accused in self._checks:
                requests[accused] = bundle(complaints)
        return requests

    def add_disclosure(self, message: bytes) -> int:
        """Takes what a site disclosed; returns its index. Raises ProtocolError."""
        sender, body = self._open(message, Kind.DISCLOSE, Collecting.DISCLOSURES)
        self._refuse_second(sender in self._disclosed)
        disclosure = Disclosure.from_bytes(body)
        if sender not in self._checks or disclosure.transcript != self._transcript.shared_digest:
            raise ProtocolError("a site disclosed what belongs to another session: it is left out")
        if any(fault.site == sender for fault in self.faults):
            raise ProtocolError("a site that broke the protocol discloses all the same: it is left out")
        statement = self._statements[sender]
        for holder, given in disclosure.given.items():
            fits = holder in statement.neighbours
            if not fits or given.commitments(sender, holder, self._terms.digest) != statement.of(holder)[1]:
                self._fault(sender, FaultKind.DISCLOSURE, (self._shared[sender].signed, message))
                raise ProtocolError("a site disclosed other shares than it committed to: it is left out")
        if set(disclosure.given) != self._complainers(sender):
            raise ProtocolError("a site did not answer all complaints of it: it is left out")
        self._disclosed[sender] = (disclosure, message)
        return sender

    def close_disclosures(self) -> dict[int, bytes]:
        """Returns the request for the next stage by site: who goes on. Raises TooFewSitesError."""
        usable = {site for site in self._checks if not self._complainers(site) or site in self._disclosed}
        going_on = sorted(self._with_holders(usable))
        self._close(Collecting.MASKED, len(going_on), "have shares that the others can use")
        self._transcript = Transcript(self._transcript.keys, self._transcript.shared, tuple(going_on))
        checks = [self._checks[site][1] for site in going_on]
        undisclosed = MaskRequest(checks, []).to_bytes()  # one for all that did not complain
        requests = {}
        for recipient in going_on:
            asked = self._checks[recipient][0].complaints
            disclosed = [self._disclosed[site][1] for site in asked if site in self._disclosed]
            requests[recipient] = MaskRequest(checks, disclosed).to_bytes() if disclosed else undisclosed
        return requests

    def add_masked(self, message: bytes) -> int:
        """Adds a site's masked vector to the sum; returns its index. Raises ProtocolError."""
        signed, packed = split_masked(message)
        sender, body = self._open(signed, Kind.MASK, Collecting.MASKED)
        self._refuse_second(sender in self._masked)
        statement = MaskStatement.from_bytes(body)
        if sender not in self._transcript.checked or statement.transcript != self._transcript.digest:
            raise ProtocolError("a site masked under other keys, shares or sites: its vector was refused")
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
        expected = Survivors(self._transcript.digest, self.survivors)
        if sender not in self._masked or Survivors.from_bytes(body) != expected:
            raise ProtocolError("a site confirmed another set of survivors: it was refused")
        self._confirmed[sender] = message
        return sender

    def close_confirmations(self) -> dict[int, bytes]:
        """Returns the request for the next stage by site: all confirmations. Raises TooFewSitesError."""
        self._close(Collecting.OPENINGS, len(self._confirmed), "confirmed the survivors")
        everyone = bundle([message for _, message in sorted(self._confirmed.items())])
        return dict.fromkeys(self._confirmed, everyone)

    def add_opening(self, message: bytes) -> int:
        """Takes what a site opens of its peers' secrets and its own; returns its index. Raises ProtocolError."""
        sender, body = self._open(message, Kind.OPEN, Collecting.OPENINGS)
        self._refuse_second(sender in self._openings)
        opening = Opening.from_bytes(body)
        expected = {
            owner: ShareKind.SELF_MASK if owner in self._masked else ShareKind.MASK_SEED
            for owner in self._transcript.checked
            if self._transcript.drew(owner, sender)
        }
        told = {owner: kind for owner, (kind, _) in opening.shares.items()}
        if sender not in self._masked or opening.transcript != self._transcript.digest or told != expected:
            raise ProtocolError("a site opened other shares than it was asked for: it was refused")
        self._openings[sender] = (opening, message)
        return sender

    def open(self) -> OpenedSum:
        """Restores the secrets, takes the masks off and returns the sum.

        A false share is found by the owner's commitment, another one is taken in its place, and who sent it is among
        the `faults`.

        Raises:
            TooFewSitesError: fewer openings came in than the threshold, or true shares of some secret.
            ProtocolError: a site had handed out shares that restore nothing, or a contribution that does not open.
        """
        self._close(Collecting.NOTHING, len(self._openings), "sent their shares")
        unmasking = Unmasking(
            terms=self._terms,
            roster=self._roster,
            transcript=self._transcript,
            survivors=self.survivors,
            advertised={site: advertisement for site, (advertisement, _) in self._advertised.items()},
            shared=self._shared,
            statements=self._statements,
            openings=self._openings,
            disclosed={site: disclosure for site, (disclosure, _) in self._disclosed.items()},
        )
        try:
            # Thousands of streams where a tenth of hundreds of sites was lost, taken off while keys are still restored.
            apply_batches(self._sum, unmasking.batches(), threads=min(_MOST_THREADS, os.cpu_count() or 1))
        finally:
            self.faults += [replace(fault, members=self._members) for fault in unmasking.faults]
        self._sum.reduce_()
        confirmations = tuple(message for _, message in sorted(self._confirmed.items()))
        return OpenedSum(self._sum, self.survivors, confirmations)

    def _with_holders(self, sites: set[int]) -> set[int]:
        """Of these, those of whom enough holders are left among them: their holders would refuse to go on otherwise.

        A corrupted site may have chosen neighbours that fall silent. It costs nobody else the round.
        """
        while True:
            kept = {
                site
                for site in sites
                if len(sites.intersection(self._transcript.holders(site))) >= self._neighbourhood.threshold
            }
            if kept == sites:
                return kept
            sites = kept

    def _complainers(self, accused: int) -> set[int]:
        return {site for site, (checked, _) in self._checks.items() if accused in checked.complaints}

    def _fault(self, site: int, kind: FaultKind, messages: tuple[bytes, ...]) -> None:
        self.faults.append(Fault(site, kind, self._terms, self._transcript, messages, members=self._members))

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
