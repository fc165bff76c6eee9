"""One site's part in one sealed round (Bonawitz et al., CCS 2017, figure 4, the user's side).

The site checks for itself everything that its secrecy rests on: who takes part, how many, that survivors and
dropouts are told apart once and for all, and that enough sites were told the same before it opens anything.

Between sharing and masking each site checks what it was sent, and complains of what it cannot use; whoever is
complained of discloses that one piece or takes no further part. So a member that sends rubbish costs nobody a vector:
none has left yet. The steps are those of verifiable secret sharing with complaints (Gennaro, Jarecki, Krawczyk, Rabin,
"Secure Distributed Key Generation for Discrete-Log Based Cryptosystems", EUROCRYPT 1999, section 4).
"""

from __future__ import annotations

import hashlib
import random as system_random

from sealora_common.config import LARGE, from_json
from sealora_common.entropy import Entropy
from sealora_common.identity import Identity
from sealora_common.roster import Roster
from sealora_common.secagg import keys, shares
from sealora_common.secagg.bodies import (
    ADVERTISEMENT_LIMIT,
    CHECK_LIMIT,
    MASK_STATEMENT_BYTES,
    SURVIVORS_LIMIT,
    Advertisement,
    CheckRequest,
    CheckStatement,
    Disclosure,
    Envelope,
    Given,
    MaskRequest,
    MaskStatement,
    Opening,
    ShareKind,
    ShareMessage,
    ShareStatement,
    Survivors,
)
from sealora_common.secagg.errors import ProtocolError
from sealora_common.secagg.masks import apply_masks
from sealora_common.secagg.messages import Kind, content_digest, open_signed, sign, unbundle
from sealora_common.secagg.ring import RingVector
from sealora_common.secagg.site_review import Review, two_stories
from sealora_common.secagg.site_state import SiteStage, SiteState
from sealora_common.secagg.terms import RoundTerms
from sealora_common.secagg.transcript import Transcript, keys_digest


class SiteSession:
    """A site in a round. Answers each stage once, in order, and forgets its secrets at the end."""

    def __init__(self, terms: RoundTerms, roster: Roster, identity: Identity, state: SiteState) -> None:
        self._terms = terms
        self._roster = roster
        self._identity = identity
        self._state = state
        self._index = roster.index(identity.name)
        self._review = Review(terms, roster, self._index, state)

    def __repr__(self) -> str:
        return f"SiteSession(site={self._identity.name!r}, stage={self._state.stage.name})"

    @classmethod
    def begin(
        cls, terms: RoundTerms, roster: Roster, identity: Identity, entropy: Entropy
    ) -> tuple[SiteSession, bytes]:
        """Draws fresh keys for the round.

        Returns:
            The session and the signed advertisement for the server.
        """
        state = SiteState(
            stage=SiteStage.ADVERTISED,
            share_seed=entropy.bytes(keys.SEED_BYTES),
            mask_seed=entropy.bytes(keys.SEED_BYTES),
            self_mask_seed=entropy.bytes(keys.SEED_BYTES),
        )
        session = cls(terms, roster, identity, state)
        return session, session._sign(Kind.ADVERTISE, session._own_advertisement().to_bytes())

    def share(self, advertisements: bytes) -> bytes:
        """Checks every peer's keys and shares this site's secrets among its neighbours and itself.

        Args:
            advertisements: the signed advertisements of all sites that take part, as `messages.bundle` made it.

        Returns:
            The signed statement and the envelopes for the server to pass on.

        Raises:
            ProtocolError: a key is forged, replayed or missing, or this site's own keys are not among them.
            TooFewSitesError: too few sites take part.
        """
        state = self._asked_after(SiteStage.ADVERTISED)
        for message in unbundle(advertisements, limit=len(self._roster), message_limit=ADVERTISEMENT_LIMIT):
            sender, body = open_signed(message, Kind.ADVERTISE, self._terms, self._roster)
            if sender in state.peers:
                raise ProtocolError("a site advertised two sets of keys: the round is refused")
            state.peers[sender] = Advertisement.from_bytes(body)
        if state.peers.get(self._index) != self._own_advertisement():
            raise ProtocolError("this site's own keys are not among the advertised: the round is refused")
        public_keys = [part for peer in state.peers.values() for part in peer.parts]
        if len(set(public_keys)) != len(public_keys):
            raise ProtocolError("a public key is advertised twice: the round is refused")
        if not all(
            keys.is_usable(key) for peer in state.peers.values() for key in (peer.share_public, peer.mask_public)
        ):
            raise ProtocolError("a peer's key is unusable: the round is refused")
        self._review.require(len(state.peers), "advertised keys")

        others = sorted(set(state.peers) - {self._index})
        # Drawn from this site's own randomness, now that every key of the round is fixed.
        drawn = system_random.SystemRandom().sample(others, self._review.neighbourhood.neighbours)
        state.neighbours = tuple(sorted(drawn))
        shared = self._give()
        state.stage = SiteStage.SHARED
        return shared.to_bytes()

    def check(self, request: bytes) -> bytes:
        """Checks who shared with whom, opens the envelopes meant for this site, and says whose it cannot use.

        Args:
            request: as `CheckRequest.to_bytes` made it.

        Returns:
            The signed transcript and complaints.

        Raises:
            ProtocolError: what the server tells cannot be what the sites sent: an envelope is withheld or altered, or
                sites were told other keys. A site that sent rubbish is no such error: it is complained of.
            TooFewSitesError: too few sites shared.
        """
        state = self._asked_after(SiteStage.SHARED)
        told = CheckRequest.from_bytes(request)
        self._review.table(told.table)
        self._review.require(len(told.table), "shared their keys")
        digests = {site: peer.digest for site, peer in state.peers.items()}
        state.transcript = Transcript(digests, told.table)
        drew_this = {site for site in told.table if state.transcript.drew(site, self._index)}
        if set(told.sent) != drew_this:
            raise ProtocolError("a site's share for this one was withheld, or comes from none: the round is refused")
        self._review.require_holders(self._index, tuple(told.table))
        share_pair, mask_pair = state.share_pair(), state.mask_pair()
        for sender, (signed, envelope) in told.sent.items():
            statement = self._review.statement(sender, signed)
            digest, committed = statement.of(self._index)
            if envelope.digest != digest:
                raise ProtocolError("an envelope is not the one its sender signed for: the round is refused")
            try:
                given = envelope.unseal(share_pair, mask_pair, sender, self._index, self._terms.digest)
            except ProtocolError:
                given = None
            if given is None or given.commitments(sender, self._index, self._terms.digest) != committed:
                state.accused[sender] = signed
            else:
                state.held[sender] = given
        state.stage = SiteStage.CHECKED
        return self._sign(Kind.CHECK, self._own_check().to_bytes())

    def disclose(self, complaints: bytes) -> bytes:
        """Shows what this site gave to those who cannot use it.

        Args:
            complaints: the signed checks that complain of this site, as `messages.bundle` made it.

        Raises:
            ProtocolError: somebody does not complain, or so many do that what they were given would restore a secret.
        """
        state = self._asked_after(SiteStage.CHECKED)
        given = {}
        for message in unbundle(complaints, limit=len(self._roster), message_limit=CHECK_LIMIT):
            sender, checked = self._review.checked(message)
            if self._index not in checked.complaints or sender not in state.given:
                raise ProtocolError("a site is said to complain that does not: nothing is disclosed")
            given[sender] = state.given[sender]
        if len(given) >= self._review.neighbourhood.threshold:
            raise ProtocolError("so many sites complain of this one that its secrets would be known: it discloses none")
        state.stage = SiteStage.DISCLOSED
        return self._sign(Kind.DISCLOSE, Disclosure(state.transcript.shared_digest, given).to_bytes())

    def mask(self, request: bytes, vector: RingVector) -> bytes:
        """Learns who goes on, and masks this site's vector.

        Args:
            request: as `MaskRequest.to_bytes` made it.
            vector: this site's encoded vector, of the terms' segments; it is masked in place.

        Returns:
            The signed statement and the masked vector.

        Raises:
            ProtocolError: sites were told different things, or one goes on whose shares this site cannot use.
            TooFewSitesError: too few sites go on.
        """
        state = self._asked_after(SiteStage.CHECKED, SiteStage.DISCLOSED)
        if vector.segments != self._terms.segments:
            raise ValueError(f"Expected a vector of {self._terms.segments}, got {vector.segments}")
        told = MaskRequest.from_bytes(request, limit=len(self._roster))
        checks = dict(map(self._review.checked, told.checks))
        if len(checks) != len(told.checks) or checks.get(self._index) != self._own_check():
            raise ProtocolError("the sites said to go on are not those that checked: the round is refused")
        for message in told.disclosures:
            self._review.take_disclosure(message)
        present = tuple(sorted(checks))
        if {site for site in present if state.transcript.drew(site, self._index)} - set(state.held):
            raise ProtocolError("a site goes on whose shares this one cannot use: the round is refused")
        self._review.require(len(present), "checked their shares")
        state.held = {owner: given for owner, given in state.held.items() if owner in checks}
        for owner in (self._index, *state.held):
            self._review.require_holders(owner, present)
        state.transcript = Transcript(state.transcript.keys, state.transcript.shared, present)

        plus = [keys.self_mask_key(state.self_mask_seed, self._index, self._terms.digest)]
        minus: list[bytes] = []
        for peer in present:
            if peer != self._index and state.transcript.are_neighbours(self._index, peer):
                (plus if self._index < peer else minus).append(self._mask_key(peer))
        apply_masks(vector, plus, minus)
        packed = vector.pack()
        state.masked = hashlib.sha256(packed).digest()
        statement = MaskStatement(state.transcript.digest, state.masked)
        state.stage = SiteStage.MASKED
        return self._sign(Kind.MASK, statement.to_bytes()) + packed

    def confirm(self, statements: bytes) -> bytes:
        """Signs the set of survivors; the site will open for this set and no other.

        Args:
            statements: the survivors' signed mask statements, as `messages.bundle` made it.

        Raises:
            ProtocolError: a statement is forged, or made under another transcript; or this site is left out.
            TooFewSitesError: the set, or a survivor's neighbourhood in it, is too small.
        """
        state = self._asked_after(SiteStage.MASKED)
        survivors: dict[int, bytes] = {}
        for message in unbundle(statements, limit=len(self._roster), message_limit=MASK_STATEMENT_BYTES):
            sender, body = open_signed(message, Kind.MASK, self._terms, self._roster)
            statement = MaskStatement.from_bytes(body)
            if sender in survivors or sender not in state.transcript.checked:
                raise ProtocolError("the survivors include a site that took no part: the round is refused")
            if statement.transcript != state.transcript.digest:
                raise two_stories("keys, shares or sites")
            survivors[sender] = statement.vector_digest
        if survivors.get(self._index) != state.masked:
            raise ProtocolError("this site's vector is not among the survivors': it opens nothing")
        told = tuple(sorted(survivors))
        self._review.require(len(told), "survived")
        for owner in (self._index, *state.held):
            if owner in survivors:
                self._review.require_holders(owner, told)
        state.survivors = told
        state.stage = SiteStage.CONFIRMED
        return self._sign(Kind.CONFIRM, Survivors(state.transcript.digest, told).to_bytes())

    def open(self, confirmations: bytes) -> bytes:
        """Releases one share for every owner, once enough sites have signed the same set of survivors.

        Args:
            confirmations: the signed confirmations, as `messages.bundle` made it.

        Returns:
            The signed opening. The session's secrets are gone afterwards.

        Raises:
            ProtocolError: a confirmation is forged, or names another set of survivors.
            TooFewSitesError: fewer sites than the threshold confirmed.
        """
        state = self._asked_after(SiteStage.CONFIRMED)
        expected = Survivors(state.transcript.digest, state.survivors)
        agreed = set()
        for message in unbundle(confirmations, limit=len(self._roster), message_limit=SURVIVORS_LIMIT):
            sender, body = open_signed(message, Kind.CONFIRM, self._terms, self._roster)
            if sender not in state.survivors or Survivors.from_bytes(body) != expected:
                raise two_stories("survivors")
            agreed.add(sender)
        self._review.require(len(agreed), "confirmed the survivors")

        opened = {}
        for owner, held in state.held.items():
            if owner in state.survivors:
                opened[owner] = (ShareKind.SELF_MASK, held.self_mask)
            else:
                opened[owner] = (ShareKind.MASK_SEED, held.mask_seed)
        opening = Opening(state.transcript.digest, state.self_mask_seed, opened)
        self._state = state.forgotten()
        return self._sign(Kind.OPEN, opening.to_bytes())

    @property
    def survivors(self) -> tuple[int, ...]:
        """The survivors this site has confirmed; empty before it has, and after it has opened."""
        return self._state.survivors

    @property
    def transcript(self) -> bytes:
        """Digest (32 bytes) of what this site has masked and confirmed under."""
        return self._state.transcript.digest

    @property
    def complaints(self) -> tuple[int, ...]:
        """The sites whose envelopes this one could not use, once it has checked them."""
        return tuple(sorted(self._state.accused))

    def to_bytes(self) -> bytes:
        """The session's secrets, to be kept by the site between two stages and nowhere else."""
        return self._state.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, content: bytes, terms: RoundTerms, roster: Roster, identity: Identity) -> SiteSession:
        """The inverse of `to_bytes`, under the same terms."""
        return cls(terms, roster, identity, from_json(SiteState, content, LARGE))

    def _give(self) -> ShareMessage:
        """Splits this site's secrets among its neighbours, and signs what each of them gets."""
        state, digest = self._state, self._terms.digest
        holders = tuple(sorted((*state.neighbours, self._index)))
        threshold = self._review.neighbourhood.threshold
        self_masks = shares.split(state.self_mask_seed, threshold, len(holders))
        mask_seeds = shares.split(state.mask_seed, threshold, len(holders))
        envelopes = {}
        for place, holder in enumerate(holders):
            if holder == self._index:  # its own shares never leave: it opens its seed itself, or is gone
                continue
            contribution = keys.contribution(state.mask_seed, self._index, holder, digest)
            given = Given(self_masks[place], mask_seeds[place], contribution)
            state.given[holder] = given
            envelopes[holder] = Envelope.seal(given, state.peers[holder], self._index, holder, digest)
        statement = ShareStatement(
            keys_digest({site: peer.digest for site, peer in state.peers.items()}),
            keys.commitment(b"seed", self._index, self._index, state.self_mask_seed, digest),
            state.neighbours,
            tuple(envelopes[holder].digest for holder in state.neighbours),
            tuple(state.given[holder].commitments(self._index, holder, digest) for holder in state.neighbours),
        )
        signed = self._sign(Kind.SHARE, statement.to_bytes())
        state.statement = content_digest(signed)
        return ShareMessage(signed, envelopes)

    def _own_check(self) -> CheckStatement:
        return CheckStatement(self._state.transcript.shared_digest, self.complaints)

    def _mask_key(self, peer: int) -> bytes:
        state = self._state
        own = keys.contribution(state.mask_seed, self._index, peer, self._terms.digest)
        mine = own if peer in state.neighbours else None
        theirs = state.held[peer].contribution if peer in state.held else None
        lower, higher = sorted((self._index, peer))
        of_lower, of_higher = (mine, theirs) if self._index == lower else (theirs, mine)
        return keys.mask_key(of_lower, of_higher, lower, higher, self._terms.digest)

    def _asked_after(self, *expected: SiteStage) -> SiteState:
        if self._state.stage not in expected:
            raise ProtocolError(
                f"site {self._identity.name!r} was asked for what follows {expected[0].name.lower()} after "
                f"{self._state.stage.name.lower()}: each stage is answered once, in order"
            )
        # Until all checks have passed: a refused request leaves the session unusable, so it cannot be probed twice.
        self._state.stage = SiteStage.REFUSED
        return self._state

    def _own_advertisement(self) -> Advertisement:
        return Advertisement(self._state.share_pair().public, self._state.mask_pair().public)

    def _sign(self, kind: Kind, body: bytes) -> bytes:
        return sign(kind, body, self._terms, self._identity, self._index)
