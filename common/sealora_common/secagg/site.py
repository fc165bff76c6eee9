"""One site's part in one sealed round (Bonawitz et al., CCS 2017, figure 4, the user's side).

The site checks for itself everything that its secrecy rests on: who takes part, how many, that survivors and
dropouts are told apart once and for all, and that enough sites were told the same before it opens anything.
Among many sites it shares and masks with neighbours of its own choice (Bell et al., CCS 2020; see `graph`).
"""

from __future__ import annotations

import hashlib
import secrets as system_random
from enum import IntEnum

from pydantic import BaseModel, ConfigDict

from sealora_common.entropy import Entropy
from sealora_common.identity import Identity
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
    SharePair,
    Survivors,
    open_signed,
    sign,
    transcript_digest,
    unbundle,
)
from sealora_common.secagg.ring import RingVector
from sealora_common.secagg.terms import RoundTerms

_MESSAGE_LIMIT = 8192  # the largest signed message a site reads: a confirmation over a thousand sites


class Stage(IntEnum):
    """What the site has answered so far."""

    REFUSED = 0
    ADVERTISED = 1
    SHARED = 2
    MASKED = 3
    CONFIRMED = 4
    OPENED = 5


class _Held(BaseModel):
    """What this site holds of one owner, see `SharePair`."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    point: int
    self_mask: bytes
    mask_key: bytes
    holders: tuple[int, ...]


class _Secrets(BaseModel):
    """All that a session must remember from one stage to the next. Holds secrets: never log it."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    stage: Stage
    share_private: bytes
    mask_private: bytes
    self_mask_seed: bytes
    peers: dict[int, Advertisement] = {}  # the keys of the sites that advertised, this one too
    chosen: tuple[int, ...] = ()  # this site's neighbours by its own choice
    sharers: tuple[int, ...] = ()  # the sites that shared, as the server told it
    transcript: bytes = b""  # digest of the peers' keys and the sharers
    held: dict[int, _Held] = {}  # by owner, this site too
    statement: bytes = b""  # digest of the vector this site sent
    survivors: tuple[int, ...] = ()


class SiteSession:
    """A site in a round. Answers each stage once, in order, and forgets its secrets at the end."""

    def __init__(self, terms: RoundTerms, roster: Roster, identity: Identity, secrets: _Secrets) -> None:
        self._terms = terms
        self._roster = roster
        self._identity = identity
        self._secrets = secrets
        self._index = roster.index(identity.name)

    def __repr__(self) -> str:
        return f"SiteSession(site={self._identity.name!r}, stage={self._secrets.stage.name})"

    @classmethod
    def begin(
        cls, terms: RoundTerms, roster: Roster, identity: Identity, entropy: Entropy
    ) -> tuple[SiteSession, bytes]:
        """Draws fresh keys for the round.

        Returns:
            The session and the signed advertisement for the server.
        """
        secrets = _Secrets(
            stage=Stage.ADVERTISED,
            share_private=entropy.bytes(keys.KEY_BYTES),
            mask_private=entropy.bytes(keys.KEY_BYTES),
            self_mask_seed=entropy.bytes(keys.KEY_BYTES),
        )
        session = cls(terms, roster, identity, secrets)
        advertisement = session._own_advertisement()
        return session, session._sign(Kind.ADVERTISE, advertisement.to_bytes())

    def share(self, advertisements: bytes) -> bytes:
        """Checks every peer's keys and shares this site's secrets among its neighbours and itself.

        Args:
            advertisements: the signed advertisements of all sites that take part, as `messages.bundle` made it.

        Returns:
            The signed, encrypted shares for the server to pass on.

        Raises:
            ProtocolError: a key is forged, replayed or missing, or this site's own keys are not among them.
            TooFewSitesError: too few sites take part.
        """
        secrets = self._asked_after(Stage.ADVERTISED)
        limit = len(self._roster)
        for message in unbundle(advertisements, limit=limit, message_limit=_MESSAGE_LIMIT):
            sender, body = open_signed(message, Kind.ADVERTISE, self._terms, self._roster)
            if sender in secrets.peers:
                raise ProtocolError("a site advertised two sets of keys: the round is refused")
            secrets.peers[sender] = Advertisement.from_bytes(body)
        if secrets.peers.get(self._index) != self._own_advertisement():
            raise ProtocolError("this site's own keys are not among the advertised: the round is refused")
        public_keys = [key for peer in secrets.peers.values() for key in (peer.share_public, peer.mask_public)]
        if len(set(public_keys)) != len(public_keys):
            raise ProtocolError("a public key is advertised twice: the round is refused")
        self._require(len(secrets.peers), "advertised keys")

        neighbourhood = self._neighbourhood()
        others = sorted(set(secrets.peers) - {self._index})
        # Drawn from this site's own randomness, now that every key of the round is fixed.
        chosen = tuple(sorted(system_random.SystemRandom().sample(others, neighbourhood.neighbours)))
        secrets.chosen = chosen
        holders = sorted([*chosen, self._index])
        seed_shares = shares.split(secrets.self_mask_seed, neighbourhood.threshold, len(holders))
        key_shares = shares.split(secrets.mask_private, neighbourhood.threshold, len(holders))
        ciphertexts = {}
        for point, holder in enumerate(holders, start=1):
            pair = SharePair(point, seed_shares[point - 1], key_shares[point - 1], neighbourhood.threshold, chosen)
            if holder == self._index:
                self._hold(self._index, pair)
                continue
            share_public = secrets.peers[holder].share_public
            ciphertexts[holder] = keys.seal_for_peer(
                secrets.share_private, share_public, self._index, holder, self._terms.digest, pair.to_bytes()
            )
        secrets.stage = Stage.SHARED
        return self._sign(Kind.SHARE, Envelopes(ciphertexts).to_bytes())

    def mask(self, request: bytes, vector: RingVector) -> bytes:
        """Takes the peers' shares and masks this site's vector.

        Args:
            request: who shared, and the shares meant for this site, as `MaskRequest.to_bytes` made it.
            vector: this site's encoded vector, of the terms' segments; it is masked in place.

        Returns:
            The signed statement and the masked vector.

        Raises:
            ProtocolError: a share was altered or withheld, or comes from a site that did not advertise.
            TooFewSitesError: too few sites shared.
        """
        secrets = self._asked_after(Stage.SHARED)
        if vector.segments != self._terms.segments:
            raise ValueError(f"Expected a vector of {self._terms.segments}, got {vector.segments}")
        told = MaskRequest.from_bytes(request)
        senders = told.envelopes.ciphertexts
        if self._index not in told.sharers or not set(told.sharers) <= set(secrets.peers):
            raise ProtocolError("the sites said to have shared are not those of this round: it was refused")
        if self._index in senders or not set(senders) <= set(told.sharers):
            raise ProtocolError("a share comes from a site that takes no part in the round: it was refused")
        for sender, ciphertext in senders.items():
            peer_public = secrets.peers[sender].share_public
            plaintext = keys.open_from_peer(
                secrets.share_private, peer_public, sender, self._index, self._terms.digest, ciphertext
            )
            pair = SharePair.from_bytes(plaintext)
            self._check_neighbours(sender, pair)
            self._hold(sender, pair)
        if self._complete and len(senders) != len(told.sharers) - 1:
            raise ProtocolError("a site's share for this one was withheld: the round is refused")
        self._require(len(told.sharers), "shared their keys")
        self._require_holders(self._index, told.sharers)
        secrets.sharers = told.sharers
        secrets.transcript = transcript_digest(secrets.peers, told.sharers)

        plus = [keys.self_mask_key(secrets.self_mask_seed, self._index, self._terms.digest)]
        minus: list[bytes] = []
        for peer in sorted((set(secrets.chosen) & set(told.sharers)) | set(senders)):
            public = secrets.peers[peer].mask_public
            key = keys.mask_key(secrets.mask_private, public, self._index, peer, self._terms.digest)
            (plus if self._index < peer else minus).append(key)
        apply_masks(vector, plus, minus)
        packed = vector.pack()
        secrets.statement = hashlib.sha256(packed).digest()
        statement = MaskStatement(secrets.transcript, secrets.statement)
        secrets.stage = Stage.MASKED
        return self._sign(Kind.MASK, statement.to_bytes()) + packed

    def confirm(self, statements: bytes) -> bytes:
        """Signs the set of survivors; the site will open for this set and no other.

        Args:
            statements: the survivors' signed mask statements, as `messages.bundle` made it.

        Raises:
            ProtocolError: a statement is forged, or made under other keys or sharers; or this site is left out.
            TooFewSitesError: the set, or a survivor's neighbourhood in it, is too small.
        """
        secrets = self._asked_after(Stage.MASKED)
        survivors: dict[int, bytes] = {}
        for message in unbundle(statements, limit=len(self._roster), message_limit=_MESSAGE_LIMIT):
            sender, body = open_signed(message, Kind.MASK, self._terms, self._roster)
            statement = MaskStatement.from_bytes(body)
            if sender in survivors or sender not in secrets.sharers:
                raise ProtocolError("the survivors include a site that took no part: the round is refused")
            if statement.transcript != secrets.transcript:
                raise ProtocolError(
                    "the server told two sites two different sets of keys or sharers: nothing is opened; "
                    "tell the consortium's coordinator"
                )
            survivors[sender] = statement.vector_digest
        if survivors.get(self._index) != secrets.statement:
            raise ProtocolError("this site's vector is not among the survivors': it opens nothing")
        told = tuple(sorted(survivors))
        self._require(len(told), "survived")
        for owner in secrets.held:
            if owner in survivors:
                self._require_holders(owner, told)
        secrets.survivors = told
        secrets.stage = Stage.CONFIRMED
        return self._sign(Kind.CONFIRM, Survivors(secrets.transcript, told).to_bytes())

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
        secrets = self._asked_after(Stage.CONFIRMED)
        expected = Survivors(secrets.transcript, secrets.survivors)
        agreed = set()
        for message in unbundle(confirmations, limit=len(self._roster), message_limit=_MESSAGE_LIMIT):
            sender, body = open_signed(message, Kind.CONFIRM, self._terms, self._roster)
            if sender not in secrets.survivors or Survivors.from_bytes(body) != expected:
                raise ProtocolError(
                    "the server told two sites two different sets of survivors: nothing is opened; "
                    "tell the consortium's coordinator"
                )
            agreed.add(sender)
        self._require(len(agreed), "confirmed the survivors")

        opened = {}
        for owner, held in secrets.held.items():
            if owner in secrets.survivors:
                opened[owner] = (ShareKind.SELF_MASK, held.point, held.self_mask)
            else:
                opened[owner] = (ShareKind.MASK_KEY, held.point, held.mask_key)
        self._forget()
        return self._sign(Kind.OPEN, Opening(opened).to_bytes())

    @property
    def survivors(self) -> tuple[int, ...]:
        """The survivors this site has confirmed; empty before it has, and after it has opened."""
        return self._secrets.survivors

    def to_bytes(self) -> bytes:
        """The session's secrets, to be kept by the site between two stages and nowhere else."""
        return self._secrets.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, content: bytes, terms: RoundTerms, roster: Roster, identity: Identity) -> SiteSession:
        """The inverse of `to_bytes`, under the same terms."""
        return cls(terms, roster, identity, _Secrets.model_validate_json(content))

    @property
    def _complete(self) -> bool:
        """Whether every participant is every other's neighbour."""
        return self._neighbourhood().neighbours == len(self._secrets.peers) - 1

    def _neighbourhood(self) -> Neighbourhood:
        return self._terms.neighbourhood(len(self._secrets.peers))

    def _hold(self, owner: int, pair: SharePair) -> None:
        holders = tuple(sorted([*pair.neighbours, owner]))
        self._secrets.held[owner] = _Held(
            point=pair.point, self_mask=pair.self_mask, mask_key=pair.mask_key, holders=holders
        )

    def _check_neighbours(self, owner: int, pair: SharePair) -> None:
        neighbourhood = self._neighbourhood()
        drawn = set(pair.neighbours)
        if (
            (len(drawn), pair.threshold) != (neighbourhood.neighbours, neighbourhood.threshold)
            or owner in drawn
            or self._index not in drawn
            or not drawn <= set(self._secrets.peers)
        ):
            raise ProtocolError("a site shared its secrets among other neighbours than it should: it was refused")

    def _require_holders(self, owner: int, present: tuple[int, ...]) -> None:
        """Refuses to go on if too few of an owner's holders are left: the server may be cutting it off."""
        left = len(set(self._secrets.held[owner].holders) & set(present))
        if left < self._neighbourhood().threshold:
            raise TooFewSitesError(
                f"only {left} holders of site {self._roster.names[owner]!r} are left, "
                f"{self._neighbourhood().threshold} are needed: nothing is opened"
            )

    def _asked_after(self, expected: Stage) -> _Secrets:
        if self._secrets.stage is not expected:
            raise ProtocolError(
                f"site {self._identity.name!r} was asked for what follows {expected.name.lower()} after "
                f"{self._secrets.stage.name.lower()}: each stage is answered once, in order"
            )
        # Until all checks have passed: a refused request leaves the session unusable, so it cannot be probed twice.
        self._secrets.stage = Stage.REFUSED
        return self._secrets

    def _require(self, count: int, did: str) -> None:
        if count < self._terms.needed:
            raise TooFewSitesError(
                f"only {count} of {self._terms.roster_size} sites {did}, {self._terms.needed} are needed: "
                "nothing is opened"
            )

    def _own_advertisement(self) -> Advertisement:
        secrets = self._secrets
        return Advertisement(keys.public_key(secrets.share_private), keys.public_key(secrets.mask_private))

    def _sign(self, kind: Kind, body: bytes) -> bytes:
        return sign(kind, body, self._terms, self._identity, self._index)

    def _forget(self) -> None:
        self._secrets = _Secrets(stage=Stage.OPENED, share_private=b"", mask_private=b"", self_mask_seed=b"")
