"""What an attacker on the sealing has to work with: weakened copies of a rule, and everything the server and the
sites that collude with it hold in a round.

`weakened` copies a class or a function with one rule of its source replaced, so that an attack is known to bite: it
must succeed against the copy and fail against the code. A rule that is no longer in the source fails the test.
"""

from __future__ import annotations
import __future__

import inspect
import random
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from sealora_common.identity import SIGNATURE_BYTES
from sealora_common.secagg import RingVector, RoundTerms, SiteSession, keys, shares
from sealora_common.secagg import site as site_module
from sealora_common.secagg.masks import apply_masks
from sealora_common.secagg.messages import (
    Advertisement,
    Envelopes,
    Kind,
    MaskRequest,
    Opening,
    ShareKind,
    SharePair,
    bundle,
    open_signed,
    sign,
    split_masked,
)

from secagg_runs import Federation, vector_of

Rule = tuple[str, str]
"""A piece of source, and what stands there instead in the weakened copy."""


def weakened(original: type, **rules: Rule | list[Rule]) -> type:
    """A subclass of `original` in which each named method has had its rule replaced."""
    methods = {
        name: _rewritten(getattr(original, name), [rule] if isinstance(rule, tuple) else rule)
        for name, rule in rules.items()
    }
    return type(f"Weakened{original.__name__}", (original,), methods)


def weakened_function(original: Callable[..., Any], *rules: Rule) -> Callable[..., Any]:
    """A copy of a function with rules replaced; a test patches it in where the function is used."""
    return _rewritten(original, list(rules))


def _rewritten(function: Callable[..., Any], rules: list[Rule]) -> Callable[..., Any]:
    source = textwrap.dedent(inspect.getsource(function))
    for rule, instead in rules:
        assert source.count(rule) == 1, f"the rule {rule!r} is not in {function.__qualname__} as this test knows it"
        source = source.replace(rule, instead)
    flags = __future__.annotations.compiler_flag
    code = compile(source, f"<weakened {function.__qualname__}>", "exec", flags=flags, dont_inherit=True)
    made: dict[str, Any] = {}
    exec(code, sys.modules[function.__module__].__dict__, made)  # noqa: S102
    rewritten: Callable[..., Any] = made[function.__name__]
    return rewritten


@dataclass
class Attacker:
    """The server and the sites that collude with it: their keys, their shares, and the shares others opened."""

    federation: Federation
    advertised: dict[int, Advertisement] = field(default_factory=dict)
    privates: dict[int, bytes] = field(default_factory=dict)
    """Mask keys by owner, of colluding sites and restored ones."""
    held: dict[tuple[int, ShareKind], dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    """Shares by owner and kind, then by point."""

    @property
    def terms(self) -> RoundTerms:
        return self.federation.terms

    def hears_keys(self, messages: Iterable[bytes]) -> None:
        """Notes advertisements, which are public."""
        for message in messages:
            sender, body = open_signed(message, Kind.ADVERTISE, self.terms, self.federation.roster)
            self.advertised[sender] = Advertisement.from_bytes(body)

    def corrupts(self, site: SiteSession) -> None:
        """Takes all that a colluding site knows."""
        self.privates[site._index] = site._secrets.mask_private
        for owner, held in site._secrets.held.items():
            self.held[owner, ShareKind.SELF_MASK][held.point] = held.self_mask
            self.held[owner, ShareKind.MASK_KEY][held.point] = held.mask_key

    def hears_opening(self, message: bytes) -> None:
        """Takes the shares that a site opened."""
        _, body = open_signed(message, Kind.OPEN, self.terms, self.federation.roster)
        for owner, (kind, point, share) in Opening.from_bytes(body).shares.items():
            self.held[owner, kind][point] = share

    def signs(self, index: int, kind: Kind, body: bytes) -> bytes:
        """A message of a colluding site."""
        return sign(kind, body, self.terms, self.federation.identity(index), index)

    def restores(self, owner: int, kind: ShareKind) -> bytes | None:
        """A secret of `owner`, if enough of its shares are at hand."""
        threshold = self.terms.neighbourhood(len(self.advertised)).threshold
        held = self.held[owner, kind]
        return shares.combine(held, threshold) if len(held) >= threshold else None

    def private(self, owner: int) -> bytes | None:
        """The mask key of `owner`, if it is known or can be restored."""
        return self.privates.get(owner) or self.restores(owner, ShareKind.MASK_KEY)

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
            seed = self.restores(site, ShareKind.SELF_MASK)
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
        for one, other in ((site, peer), (peer, site)):
            private = self.private(one)
            if private is not None:
                return keys.mask_key(private, self.advertised[other].mask_public, one, other, self.terms.digest)
        return None


def surrounds(
    attacker: Attacker, victim: SiteSession, bundle_of_keys: bytes, peers: Mapping[int, tuple[bytes, bytes]]
) -> RingVector | None:
    """Plays every peer of a victim, and reads its vector if the victim plays along.

    Args:
        attacker: who will hold what the victim gives away.
        victim: a session that has advertised.
        bundle_of_keys: the advertisements that the victim is shown.
        peers: the private halves of the keys in it, (share key, mask key) by site.
    """
    terms = attacker.terms
    index = victim._index
    envelopes = Envelopes.from_bytes(_body(victim.share(bundle_of_keys)))
    victim_share_key = victim._own_advertisement().share_public
    sent = {}
    for peer, (share_private, mask_private) in peers.items():
        attacker.privates[peer] = mask_private
        pair = SharePair.from_bytes(
            keys.open_from_peer(share_private, victim_share_key, index, peer, terms.digest, envelopes.ciphertexts[peer])
        )
        attacker.held[index, ShareKind.SELF_MASK][pair.point] = pair.self_mask
        everyone_else = tuple(sorted({index, *peers} - {peer}))
        false = SharePair(1, bytes(32), bytes(32), pair.threshold, everyone_else)
        sent[peer] = keys.seal_for_peer(share_private, victim_share_key, peer, index, terms.digest, false.to_bytes())
    request = MaskRequest(tuple(sorted({index, *peers})), Envelopes(sent)).to_bytes()
    masked = victim.mask(request, vector_of(terms.segments, index))
    return attacker.reads({index: masked}, {index: set(peers)})


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


def _body(message: bytes) -> bytes:
    return message[40:-SIGNATURE_BYTES]
