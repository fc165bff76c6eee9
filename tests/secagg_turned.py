"""Turned sites: members that have advertised like all others and break the protocol from there on, in one way each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sealora_common.secagg import SiteSession, keys
from sealora_common.secagg.bodies import CheckRequest, Committed, Envelope, Given, ShareMessage, ShareStatement
from sealora_common.secagg.messages import Kind, content_digest
from sealora_common.secagg.transcript import keys_digest

from secagg_runs import STAGES, Run, gone_by


class Turned(SiteSession):
    """A site that gives what it likes: other values, other envelopes than it commits to, or another self-mask.

    Each hook gets what an honest site would send to one holder, and returns what this one sends.
    """

    def gives(self, holder: int, given: Given) -> Given:
        """What it gives, seals and commits to."""
        return given

    def seals(self, holder: int, envelope: Envelope) -> Envelope:
        """The envelope that it signs for and sends."""
        return envelope

    def commits(self, holder: int, committed: Committed) -> Committed:
        """What it says of what it gives."""
        return committed

    def _give(self) -> ShareMessage:
        super()._give()
        state, digest = self._state, self._terms.digest
        given = {holder: self.gives(holder, one) for holder, one in sorted(state.given.items())}
        state.given = given
        envelopes = {
            holder: self.seals(holder, Envelope.seal(one, state.peers[holder], self._index, holder, digest))
            for holder, one in given.items()
        }
        statement = ShareStatement(
            keys_digest({site: peer.digest for site, peer in state.peers.items()}),
            keys.commitment(b"seed", self._index, self._index, state.self_mask_seed, digest),
            state.neighbours,
            tuple(envelopes[holder].digest for holder in state.neighbours),
            tuple(
                self.commits(holder, given[holder].commitments(self._index, holder, digest))
                for holder in state.neighbours
            ),
        )
        signed = self._sign(Kind.SHARE, statement.to_bytes())
        state.statement = content_digest(signed)
        return ShareMessage(signed, envelopes)


def giving(change: Callable[[SiteSession, int, Given], Given]) -> type[SiteSession]:
    """A turned site that gives other values than it should, and commits to them."""

    class Giving(Turned):
        def gives(self, holder: int, given: Given) -> Given:
            return change(self, holder, given)

    return Giving


def sealing_rubbish(*holders: int) -> type[SiteSession]:
    """A turned site whose envelopes for some holders do not open."""

    class Sealing(Turned):
        def seals(self, holder: int, envelope: Envelope) -> Envelope:
            if holder not in holders:
                return envelope
            return Envelope(bytes(len(envelope.shares)), bytes(len(envelope.contribution)))

    return Sealing


class Silent(SiteSession):
    """A turned site that complains of nothing, whatever it cannot open."""

    def check(self, request: bytes) -> bytes:
        super().check(request)
        self._state.accused.clear()
        return self._sign(Kind.CHECK, self._own_check().to_bytes())


def complaining(*accused: int) -> type[SiteSession]:
    """A turned site: it says that it cannot use what these sites sent it, be it true or not."""

    class Complaining(SiteSession):
        def check(self, request: bytes) -> bytes:
            super().check(request)
            sent = CheckRequest.from_bytes(request).sent
            for site in sorted(set(accused) & set(sent)):
                self._state.held.pop(site, None)
                self._state.accused[site] = sent[site][0]
            return self._sign(Kind.CHECK, self._own_check().to_bytes())

    return Complaining


def turn(run: Run, turned: Mapping[int, type[SiteSession]]) -> Run:
    """Makes sites that have advertised behave otherwise from here on."""
    for index, site_class in turned.items():
        run.sites[index].__class__ = site_class
    return run


def go_on(run: Run, stage: str, drops: Mapping[int, str] | None = None) -> Run:
    """Runs all stages after the last answered one and before `stage`."""
    for following in STAGES[len(run.answers) : STAGES.index(stage)]:
        run.step(following, gone_by(following, drops or {}))
    return run
