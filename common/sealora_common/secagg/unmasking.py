"""Which masks come off a sum: from the secrets that sites opened, each held against what its owner had committed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from sealora_common.roster import Roster
from sealora_common.secagg import keys, shares
from sealora_common.secagg.bodies import Advertisement, Disclosure, Opening, ShareKind, ShareMessage, ShareStatement
from sealora_common.secagg.errors import ProtocolError, TooFewSitesError
from sealora_common.secagg.faults import Fault, FaultKind, contribution_fits, contributions_fit, seed_fits, share_fits
from sealora_common.secagg.masks import Batch
from sealora_common.secagg.terms import RoundTerms
from sealora_common.secagg.transcript import Transcript

_BATCH = 64  # self-masks worked out at a time


@dataclass
class Unmasking:
    """The server's work once the openings are in.

    Attributes:
        terms, roster, transcript: of the session.
        survivors: the sites whose vectors are in the sum.
        advertised, shared, statements: what each site sent, by site.
        openings: what survivors opened, and the signed message, by site.
        disclosed: what sites disclosed when they were complained of.
        faults: sites that turn out to have broken the protocol.
    """

    terms: RoundTerms
    roster: Roster
    transcript: Transcript
    survivors: tuple[int, ...]
    advertised: Mapping[int, Advertisement]
    shared: Mapping[int, ShareMessage]
    statements: Mapping[int, ShareStatement]
    openings: Mapping[int, tuple[Opening, bytes]]
    disclosed: Mapping[int, Disclosure]
    faults: list[Fault] = field(default_factory=list)

    def batches(self) -> Iterator[Batch]:
        """The keys of the mask streams to add to the masked sum, and of those to subtract, as they are restored.

        Raises:
            TooFewSitesError: too few true shares of a secret were opened.
            ProtocolError: a site's shares restore nothing, or its contribution to a mask does not open; see `faults`.
        """
        dropped = sorted(set(self.transcript.checked) - set(self.survivors))
        for start in range(0, len(self.survivors), _BATCH):
            survivors = self.survivors[start : start + _BATCH]
            yield [], [keys.self_mask_key(self._self_mask(site), site, self.terms.digest) for site in survivors]
        for site in dropped:
            yield self._pairwise(site)

    def _pairwise(self, dropped: int) -> Batch:
        """The masks that survivors share with a site that went on and did not survive."""
        plus: list[bytes] = []
        minus: list[bytes] = []
        seed = self._restore(dropped, ShareKind.MASK_SEED)
        pair = keys.KeyPair(seed)
        # Its peers masked with what it gave them: that must be what its seed makes, or their masks stay on the sum.
        if pair.public != self.advertised[dropped].mask_public or not contributions_fit(
            self.statements[dropped], dropped, seed, self.terms.digest
        ):
            raise self._secret_fault(dropped, ShareKind.MASK_SEED)
        for survivor in self.survivors:
            if self.transcript.are_neighbours(survivor, dropped):
                key = self._mask_key(survivor, dropped, seed, pair)
                # The survivor added this mask if its index is the lower one.
                (minus if survivor < dropped else plus).append(key)
        return plus, minus

    def _self_mask(self, survivor: int) -> bytes:
        """A survivor's self-mask seed: as it opened it, or restored if it is gone or opened another."""
        statement = self.statements[survivor]
        if survivor in self.openings:
            opening, message = self.openings[survivor]
            if seed_fits(statement, survivor, opening.self_mask, self.terms.digest):
                return opening.self_mask
            self._fault(survivor, FaultKind.SEED, (self.shared[survivor].signed, message))
        seed = self._restore(survivor, ShareKind.SELF_MASK)
        if not seed_fits(statement, survivor, seed, self.terms.digest):
            raise self._secret_fault(survivor, ShareKind.SELF_MASK)
        return seed

    def _restore(self, owner: int, kind: ShareKind) -> bytes:
        threshold = self.terms.neighbourhood(len(self.advertised)).threshold
        held: dict[int, bytes] = {}
        for holder in self.transcript.shared[owner].neighbours:
            if len(held) < threshold and holder in self.openings:
                share = self._true_share(owner, holder, kind)
                if share is not None:
                    held[self.transcript.point(owner, holder)] = share
        if len(held) < threshold:
            raise TooFewSitesError(
                f"only {len(held)} holders of site {self.roster.names[owner]!r} sent true shares, {threshold} are "
                "needed: the round is aborted and nothing was opened"
            )
        return shares.combine(held, threshold)

    def _true_share(self, owner: int, holder: int, kind: ShareKind) -> bytes | None:
        """The share that `holder` opened, or None, and a fault, if it is not the one it had been given."""
        opening, message = self.openings[holder]
        opened, share = opening.shares[owner]
        if opened is kind and share_fits(self.statements[owner], owner, holder, kind, share, self.terms.digest):
            return share
        if all(fault.site != holder or fault.kind is not FaultKind.SHARE for fault in self.faults):
            self._fault(holder, FaultKind.SHARE, (self.shared[owner].signed, message))
        return None

    def _mask_key(self, survivor: int, dropped: int, seed: bytes, pair: keys.KeyPair) -> bytes:
        transcript, digest = self.transcript, self.terms.digest
        of_dropped = keys.contribution(seed, dropped, survivor, digest) if transcript.drew(dropped, survivor) else None
        of_survivor = self._contribution(survivor, dropped, seed, pair) if transcript.drew(survivor, dropped) else None
        lower, higher = sorted((survivor, dropped))
        of_lower, of_higher = (of_survivor, of_dropped) if survivor == lower else (of_dropped, of_survivor)
        return keys.mask_key(of_lower, of_higher, lower, higher, digest)

    def _contribution(self, survivor: int, dropped: int, seed: bytes, pair: keys.KeyPair) -> bytes:
        """What a survivor contributed to its mask with a dropped site, whose mask key pair has been restored."""
        disclosed = self.disclosed.get(survivor)
        if disclosed is not None and dropped in disclosed.given:
            return disclosed.given[dropped].contribution
        envelope = self.shared[survivor].envelopes[dropped]
        with suppress(ProtocolError):
            opened = envelope.unseal_contribution(pair, survivor, dropped, self.terms.digest)
            if contribution_fits(self.statements[survivor], survivor, dropped, opened, self.terms.digest):
                return opened
        # The dropped site had not complained: it is in this too, but that cannot be shown.
        extra = (envelope.to_bytes(), self.advertised[dropped].to_bytes(), seed)
        self._fault(survivor, FaultKind.CONTRIBUTION, (self.shared[survivor].signed,), extra)
        name = self.roster.names[survivor]
        raise ProtocolError(f"the contribution of site {name!r} to a mask does not open: the round is void")

    def _secret_fault(self, owner: int, kind: ShareKind) -> ProtocolError:
        """Notes that true shares restored nothing, and returns the error that says so."""
        threshold = self.terms.neighbourhood(len(self.advertised)).threshold
        holders = [
            holder
            for holder in self.transcript.shared[owner].neighbours
            if holder in self.openings and self._true_share(owner, holder, kind) is not None
        ]
        messages = (self.shared[owner].signed, *(self.openings[holder][1] for holder in holders[:threshold]))
        self._fault(owner, FaultKind.SECRET, messages, (self.advertised[owner].to_bytes(),))
        name = self.roster.names[owner]
        return ProtocolError(f"the shares that site {name!r} handed out do not restore its secret: the round is void")

    def _fault(self, site: int, kind: FaultKind, messages: tuple[bytes, ...], extra: tuple[bytes, ...] = ()) -> None:
        self.faults.append(Fault(site, kind, self.terms, self.transcript, messages, extra))
