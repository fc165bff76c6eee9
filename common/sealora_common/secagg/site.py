"""One site's part in one sealed round (Bonawitz et al., CCS 2017, figure 4, the user's side).

The site checks for itself everything that its secrecy rests on: who takes part, how many, that survivors and
dropouts are told apart once and for all, and that enough sites were told the same before it opens anything.
"""

from __future__ import annotations

from enum import IntEnum

from pydantic import BaseModel, ConfigDict

from sealora_common.entropy import Entropy
from sealora_common.identity import Identity
from sealora_common.roster import Roster
from sealora_common.secagg import keys, shares
from sealora_common.secagg.errors import ProtocolError, TooFewSitesError
from sealora_common.secagg.masks import apply_masks
from sealora_common.secagg.messages import (
    Advertisement,
    Envelopes,
    Kind,
    Opening,
    ShareKind,
    SharePair,
    Survivors,
    open_signed,
    sign,
    unbundle,
)
from sealora_common.secagg.ring import RingVector
from sealora_common.secagg.terms import RoundTerms

_MESSAGE_LIMIT = 4096  # the largest signed message a site reads: a confirmation over a thousand sites


class Stage(IntEnum):
    """What the site has answered so far."""

    ADVERTISED = 1
    SHARED = 2
    MASKED = 3
    CONFIRMED = 4
    OPENED = 5


class _Secrets(BaseModel):
    """All that a session must remember from one stage to the next. Holds secrets: never log it."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    stage: Stage
    share_private: bytes
    mask_private: bytes
    self_mask_seed: bytes
    peers: dict[int, tuple[bytes, bytes]] = {}  # the sites that advertised: (share key, mask key)
    held: dict[int, tuple[int, bytes, bytes]] = {}  # the sites that shared: what this site holds of each
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
        """Checks every peer's keys and shares this site's secrets among the peers and itself.

        Args:
            advertisements: the signed advertisements of all sites that take part, as `messages.bundle` made it.

        Returns:
            The signed, encrypted shares for the server to pass on.

        Raises:
            ProtocolError: a key is forged, replayed or missing, or this site's own keys are not among them.
            TooFewSitesError: too few sites take part.
        """
        secrets = self._advance(Stage.ADVERTISED, Stage.SHARED)
        limit = len(self._roster)
        for message in unbundle(advertisements, limit=limit, message_limit=_MESSAGE_LIMIT):
            sender, body = open_signed(message, Kind.ADVERTISE, self._terms, self._roster)
            advertisement = Advertisement.from_bytes(body)
            if sender in secrets.peers:
                raise ProtocolError("a site advertised two sets of keys: the round is refused")
            secrets.peers[sender] = (advertisement.share_public, advertisement.mask_public)
        own = self._own_advertisement()
        if secrets.peers.get(self._index) != (own.share_public, own.mask_public):
            raise ProtocolError("this site's own keys are not among the advertised: the round is refused")
        public_keys = [key for pair in secrets.peers.values() for key in pair]
        if len(set(public_keys)) != len(public_keys):
            raise ProtocolError("a public key is advertised twice: the round is refused")
        self._require(len(secrets.peers), "advertised keys")

        participants = sorted(secrets.peers)
        threshold = self._terms.threshold
        seed_shares = shares.split(secrets.self_mask_seed, threshold, len(participants))
        key_shares = shares.split(secrets.mask_private, threshold, len(participants))
        ciphertexts = {}
        for point, peer in enumerate(participants, start=1):
            pair = SharePair(point, seed_shares[point - 1], key_shares[point - 1])
            if peer == self._index:
                secrets.held[peer] = (pair.point, pair.self_mask, pair.mask_key)
                continue
            ciphertexts[peer] = keys.seal_for_peer(
                secrets.share_private,
                secrets.peers[peer][0],
                self._index,
                peer,
                self._terms.digest,
                pair.to_bytes(),
            )
        return self._sign(Kind.SHARE, Envelopes(ciphertexts).to_bytes())

    def mask(self, envelopes: bytes, vector: RingVector) -> bytes:
        """Takes the peers' shares and masks this site's vector.

        Args:
            envelopes: the encrypted shares of the peers that shared, as `Envelopes.to_bytes` made it.
            vector: this site's encoded vector, of the terms' segments; it is masked in place.

        Returns:
            The signed masked vector.

        Raises:
            ProtocolError: a share was altered, or comes from a site that did not advertise.
            TooFewSitesError: too few sites shared.
        """
        secrets = self._advance(Stage.SHARED, Stage.MASKED)
        if vector.segments != self._terms.segments:
            raise ValueError(f"Expected a vector of {self._terms.segments}, got {vector.segments}")
        for sender, ciphertext in Envelopes.from_bytes(envelopes).ciphertexts.items():
            if sender == self._index or sender not in secrets.peers:
                raise ProtocolError("a share comes from a site that takes no part in the round: it was refused")
            plaintext = keys.open_from_peer(
                secrets.share_private,
                secrets.peers[sender][0],
                sender,
                self._index,
                self._terms.digest,
                ciphertext,
            )
            pair = SharePair.from_bytes(plaintext)
            secrets.held[sender] = (pair.point, pair.self_mask, pair.mask_key)
        self._require(len(secrets.held), "shared their keys")

        plus = [keys.self_mask_key(secrets.self_mask_seed, self._index, self._terms.digest)]
        minus: list[bytes] = []
        for peer in sorted(secrets.held):
            if peer == self._index:
                continue
            key = keys.mask_key(secrets.mask_private, secrets.peers[peer][1], self._index, peer, self._terms.digest)
            (plus if self._index < peer else minus).append(key)
        apply_masks(vector, plus, minus)
        return self._sign(Kind.MASK, vector.pack())

    def confirm(self, survivors: bytes) -> bytes:
        """Signs the set of survivors it is told; it will open for this set and no other.

        Args:
            survivors: as `Survivors.to_bytes` made it.

        Raises:
            ProtocolError: the set names a site that did not share with this one, or leaves this one out.
            TooFewSitesError: the set is too small.
        """
        secrets = self._advance(Stage.MASKED, Stage.CONFIRMED)
        told = Survivors.from_bytes(survivors).indices
        if not set(told) <= set(secrets.held):
            raise ProtocolError("the survivors include a site that shared nothing with this one: the round is refused")
        if self._index not in told:
            raise ProtocolError("this site sent its vector but is not among the survivors: it opens nothing")
        self._require(len(told), "survived")
        secrets.survivors = told
        return self._sign(Kind.CONFIRM, Survivors(told).to_bytes())

    def open(self, confirmations: bytes) -> bytes:
        """Releases one share for every peer, once enough sites have signed the same set of survivors.

        Args:
            confirmations: the signed confirmations, as `messages.bundle` made it.

        Returns:
            The signed opening. The session's secrets are gone afterwards.

        Raises:
            ProtocolError: a confirmation is forged, or names another set of survivors.
            TooFewSitesError: fewer sites than the threshold confirmed.
        """
        secrets = self._advance(Stage.CONFIRMED, Stage.OPENED)
        agreed = set()
        for message in unbundle(confirmations, limit=len(self._roster), message_limit=_MESSAGE_LIMIT):
            sender, body = open_signed(message, Kind.CONFIRM, self._terms, self._roster)
            if sender not in secrets.survivors or Survivors.from_bytes(body).indices != secrets.survivors:
                raise ProtocolError(
                    "the server told two sites two different sets of survivors: nothing is opened; "
                    "tell the consortium's coordinator"
                )
            agreed.add(sender)
        self._require(len(agreed), "confirmed the survivors")

        opened = {}
        for peer, (point, self_mask, mask_key) in secrets.held.items():
            if peer in secrets.survivors:
                opened[peer] = (ShareKind.SELF_MASK, point, self_mask)
            else:
                opened[peer] = (ShareKind.MASK_KEY, point, mask_key)
        self._forget()
        return self._sign(Kind.OPEN, Opening(opened).to_bytes())

    def to_bytes(self) -> bytes:
        """The session's secrets, to be kept by the site between two stages and nowhere else."""
        return self._secrets.model_dump_json().encode()

    @classmethod
    def from_bytes(cls, content: bytes, terms: RoundTerms, roster: Roster, identity: Identity) -> SiteSession:
        """The inverse of `to_bytes`, under the same terms."""
        return cls(terms, roster, identity, _Secrets.model_validate_json(content))

    def _advance(self, expected: Stage, following: Stage) -> _Secrets:
        if self._secrets.stage is not expected:
            raise ProtocolError(
                f"site {self._identity.name!r} was asked for stage {following.name.lower()} after "
                f"{self._secrets.stage.name.lower()}: each stage is answered once, in order"
            )
        # Moved on before any check: a refused request leaves the session unusable, so it cannot be probed twice.
        self._secrets.stage = following
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
        survivors = self._secrets.survivors
        self._secrets = _Secrets(
            stage=Stage.OPENED, share_private=b"", mask_private=b"", self_mask_seed=b"", survivors=survivors
        )
