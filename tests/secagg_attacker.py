"""What an attacker on the sealing has to work with: everything that the server and the sites that collude with it hold
in a session, all they can open, restore and subtract; and a server that checks nothing.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from sealora_common.identity import SIGNATURE_BYTES
from sealora_common.secagg import ProtocolError, RingVector, RoundTerms, SiteSession, keys, shares
from sealora_common.secagg import site as site_module
from sealora_common.secagg.bodies import (
    Advertisement,
    CheckRequest,
    Disclosure,
    Envelope,
    Given,
    MaskRequest,
    Opening,
    ShareKind,
    ShareMessage,
    ShareStatement,
    split_masked,
)
from sealora_common.secagg.masks import apply_masks
from sealora_common.secagg.messages import Kind, bundle, content_digest, open_signed, sign
from sealora_common.secagg.transcript import Shared

from secagg_runs import Federation, Run, vector_of

HEADER_BYTES = 40
"""Before the body of a signed message: magic, version, kind, digest of the terms, sender."""


@dataclass
class Attacker:
    """The server and the sites that collude with it, in one session: what all others sent, and what can be made of it.

    Attributes:
        federation: who takes part, and under which terms.
        advertised: public keys, by site.
        drew: whom a site drew, by site.
        share_seeds, mask_seeds, self_masks: secrets at hand, by site.
        opened: shares by owner and kind, then by point.
        given: what an owner gave to a holder, where it is known in the clear.
        envelopes: the same, sealed.
    """

    federation: Federation
    advertised: dict[int, Advertisement] = field(default_factory=dict)
    drew: dict[int, tuple[int, ...]] = field(default_factory=dict)
    share_seeds: dict[int, bytes] = field(default_factory=dict)
    mask_seeds: dict[int, bytes] = field(default_factory=dict)
    self_masks: dict[int, bytes] = field(default_factory=dict)
    opened: dict[tuple[int, ShareKind], dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    given: dict[tuple[int, int], Given] = field(default_factory=dict)
    envelopes: dict[tuple[int, int], Envelope] = field(default_factory=dict)

    @classmethod
    def watching(cls, run: Run, corrupted: Collection[int] = ()) -> Attacker:
        """The server of a round that has got past the share stage, with the sites that collude with it."""
        attacker = cls(run.federation)
        attacker.hears_keys(run.answers["advertise"].values())
        attacker.hears_shares(run.answers["share"].values())
        for index in corrupted:
            attacker.corrupts(run.sites[index])
        return attacker

    @property
    def terms(self) -> RoundTerms:
        return self.federation.terms

    def hears_keys(self, messages: Iterable[bytes]) -> None:
        """Notes advertisements, which are public."""
        for message in messages:
            sender, body = self._read(message, Kind.ADVERTISE)
            self.advertised[sender] = Advertisement.from_bytes(body)

    def hears_shares(self, messages: Iterable[bytes]) -> None:
        """Notes who drew whom, and the envelopes, which the server relays."""
        for message in messages:
            share = ShareMessage.from_bytes(message)
            sender, body = self._read(share.signed, Kind.SHARE)
            self.drew[sender] = ShareStatement.from_bytes(body).neighbours
            self.envelopes.update({(sender, holder): one for holder, one in share.envelopes.items()})

    def corrupts(self, site: SiteSession) -> None:
        """Takes all that a colluding site knows."""
        state = site._state
        self.share_seeds[site._index] = state.share_seed
        self.mask_seeds[site._index] = state.mask_seed
        self.self_masks[site._index] = state.self_mask_seed
        self.given.update({(owner, site._index): given for owner, given in state.held.items()})

    def hears_disclosure(self, message: bytes) -> None:
        """Takes what a site disclosed."""
        sender, body = self._read(message, Kind.DISCLOSE)
        self.given.update({(sender, holder): given for holder, given in Disclosure.from_bytes(body).given.items()})

    def hears_opening(self, message: bytes) -> None:
        """Takes the shares that a site opened, and its self-mask."""
        sender, body = self._read(message, Kind.OPEN)
        opening = Opening.from_bytes(body)
        self.self_masks[sender] = opening.self_mask
        for owner, (kind, share) in opening.shares.items():
            self.opened[owner, kind][self.point(owner, sender)] = share

    def signs(self, index: int, kind: Kind, body: bytes) -> bytes:
        """A message of a colluding site."""
        return sign(kind, body, self.terms, self.federation.identity(index), index)

    def point(self, owner: int, holder: int) -> int:
        """Where `holder`'s shares of `owner`'s secrets lie."""
        return sorted((*self.drew[owner], owner)).index(holder) + 1

    def knows(self, owner: int, holder: int) -> Given | None:
        """What an owner gave to a holder, if it was disclosed or the holder colludes."""
        if (owner, holder) not in self.given and holder in self.share_seeds:
            with suppress(ProtocolError, KeyError):
                self.given[owner, holder] = self.envelopes[owner, holder].unseal(
                    keys.KeyPair(self.share_seeds[holder]),
                    keys.KeyPair(self.mask_seeds[holder]),
                    owner,
                    holder,
                    self.terms.digest,
                )
        return self.given.get((owner, holder))

    def restores(self, owner: int, kind: ShareKind) -> bytes | None:
        """A secret of `owner`, if enough of its shares are at hand."""
        threshold = self.terms.neighbourhood(len(self.advertised)).threshold
        held = dict(self.opened[owner, kind])
        for holder in self.drew.get(owner, ()):
            given = self.knows(owner, holder)
            if given is not None:
                held[self.point(owner, holder)] = given.self_mask if kind is ShareKind.SELF_MASK else given.mask_seed
        return shares.combine(held, threshold) if len(held) >= threshold else None

    def self_mask(self, owner: int) -> bytes | None:
        """The self-mask seed of `owner`, if it is known or can be restored."""
        return self.self_masks.get(owner) or self.restores(owner, ShareKind.SELF_MASK)

    def mask_seed(self, owner: int) -> bytes | None:
        """The mask seed of `owner`, if it is known or can be restored."""
        return self.mask_seeds.get(owner) or self.restores(owner, ShareKind.MASK_SEED)

    def contribution(self, drawer: int, neighbour: int) -> bytes | None:
        """What a site gave to the mask it shares with one it drew, from either's secrets."""
        given = self.knows(drawer, neighbour)
        if given is not None:
            return given.contribution
        seed = self.mask_seed(drawer)
        if seed is not None:
            return keys.contribution(seed, drawer, neighbour, self.terms.digest)
        seed = self.mask_seed(neighbour)
        if seed is not None and (drawer, neighbour) in self.envelopes:
            with suppress(ProtocolError):
                return self.envelopes[drawer, neighbour].unseal_contribution(
                    keys.KeyPair(seed), drawer, neighbour, self.terms.digest
                )
        return None

    def neighbours(self, site: int, present: Collection[int]) -> set[int]:
        """Those of the present that a site shares a mask with, by what the sites drew."""
        return {
            peer
            for peer in present
            if peer != site and (peer in self.drew.get(site, ()) or site in self.drew.get(peer, ()))
        }

    def reads(self, masked: Mapping[int, bytes], masked_with: Mapping[int, Collection[int]]) -> RingVector | None:
        """The sum of the plain vectors behind some masked messages, or None if a secret is missing.

        Args:
            masked: the messages of the mask stage, by site.
            masked_with: the peers each of the sites shares a mask with.
        """
        total = RingVector.zeros(self.terms.segments)
        plus, minus = [], []
        for site, message in masked.items():
            total.add_(RingVector.unpack(split_masked(message)[1], self.terms.segments))
            seed = self.self_mask(site)
            if seed is None:
                return None
            minus.append(keys.self_mask_key(seed, site, self.terms.digest))
            for peer in masked_with[site]:
                if peer in masked and site in masked_with[peer]:
                    continue  # cancels
                key = self._mask_key(site, peer)
                if key is None:
                    return None
                (minus if site < peer else plus).append(key)
        apply_masks(total, plus, minus)
        total.reduce_()
        return total

    def _mask_key(self, site: int, peer: int) -> bytes | None:
        lower, higher = sorted((site, peer))
        parts = []
        for drawer, neighbour in ((lower, higher), (higher, lower)):
            drew = neighbour in self.drew.get(drawer, ())
            parts.append(self.contribution(drawer, neighbour) if drew else None)
            if drew and parts[-1] is None:
                return None
        return keys.mask_key(parts[0], parts[1], lower, higher, self.terms.digest)

    def _read(self, message: bytes, kind: Kind) -> tuple[int, bytes]:
        # Through the site's module, where a test may have weakened it.
        sender, body = site_module.open_signed(message, kind, self.terms, self.federation.roster)
        return sender, body


@dataclass
class Relay:
    """A server that checks nothing: it passes on whatever it is given, and knows what passed.

    Attributes:
        sites: the sessions it talks to, honest or not.
        advertised, shared, checked, masked: what they answered, by site.
    """

    sites: Mapping[int, SiteSession]
    advertised: Mapping[int, bytes]
    shared: dict[int, bytes] = field(default_factory=dict)
    checked: dict[int, bytes] = field(default_factory=dict)
    masked: dict[int, bytes] = field(default_factory=dict)

    def table(self) -> dict[int, Shared]:
        """Who shared what, by the messages of the share stage."""
        return {index: shared_of(message) for index, message in sorted(self.shared.items())}

    def check_request(self, index: int) -> CheckRequest:
        """What a site is to be told before it checks."""
        sent = {}
        for sender, message in self.shared.items():
            share = ShareMessage.from_bytes(message)
            if index in share.envelopes:
                sent[sender] = (share.signed, share.envelopes[index])
        return CheckRequest(self.table(), sent)

    def until_masked(self, victim: int, vector: RingVector) -> bytes:
        """Has all sites share and check, and the victim mask its vector; returns the masked message."""
        everyone = bundle([message for _, message in sorted(self.advertised.items())])
        self.shared = {index: site.share(everyone) for index, site in self.sites.items()}
        self.checked = {index: site.check(self.check_request(index).to_bytes()) for index, site in self.sites.items()}
        checks = [message for _, message in sorted(self.checked.items())]
        return self.sites[victim].mask(MaskRequest(checks, []).to_bytes(), vector)


def shared_of(message: bytes) -> Shared:
    """The line of the table that a message of the share stage stands for."""
    signed = ShareMessage.from_bytes(message).signed
    statement = ShareStatement.from_bytes(signed[HEADER_BYTES:-SIGNATURE_BYTES])
    return Shared(content_digest(signed), statement.neighbours)


def surrounds(federation: Federation, victim: int, peers: Mapping[int, tuple[SiteSession, bytes]]) -> RingVector | None:
    """Plays every peer of a victim, and reads its vector if the victim plays along.

    Args:
        federation: the victim's.
        victim: index of an honest site.
        peers: the attacker's sessions and their advertisements, by index.
    """
    site, own = federation.begin(victim)
    relay = Relay(
        {victim: site} | {index: session for index, (session, _) in peers.items()},
        {victim: own} | {index: advertisement for index, (_, advertisement) in peers.items()},
    )
    masked = relay.until_masked(victim, vector_of(federation.terms.segments, victim))
    attacker = Attacker(federation)
    attacker.hears_keys(relay.advertised.values())
    attacker.hears_shares(relay.shared.values())
    for session, _ in peers.values():
        attacker.corrupts(session)
    return attacker.reads({victim: masked}, {victim: set(peers)})


def body_of(message: bytes, kind: Kind, federation: Federation) -> bytes:
    """The body of a signed message."""
    return open_signed(message, kind, federation.terms, federation.roster)[1]


def plan_draws(monkeypatch: pytest.MonkeyPatch, participants: int, draws: Mapping[int, Collection[int]]) -> None:
    """Makes sites draw the neighbours a test wants; a site that is not in `draws` draws at random."""

    class Planned(random.SystemRandom):
        def sample(self, population: Any, k: int, **_: Any) -> list[int]:
            (own,) = set(range(participants)) - set(population)
            planned = draws.get(own)
            return list(planned) if planned is not None else super().sample(population, k)

    monkeypatch.setattr(site_module.system_random, "SystemRandom", Planned)


def statement_of(masked: bytes) -> bytes:
    """The signed part of a message of the mask stage."""
    return split_masked(masked)[0]


def told_survivors(site: SiteSession, masked: Mapping[int, bytes], survivors: Collection[int]) -> bytes:
    """Tells a site that these sites survived; returns its confirmation."""
    return site.confirm(bundle([statement_of(masked[index]) for index in sorted(survivors)]))
