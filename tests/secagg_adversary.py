"""An adversary on the sealing that plays the server and the sites it may corrupt, with two sessions of the same terms.

It knows whatever any of them was sent, signs for its sites what it likes, and tells each honest session what it likes:
which sites advertised, shared, checked, survived, confirmed; messages of the other session; a second statement of its
sites; other draws; complaints. `Adversary.readable` is what it can compute in the end: every linear combination of
honest vectors whose masks it knows or which cancel.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sealora_common.errors import FederationError
from sealora_common.secagg import SiteSession
from sealora_common.secagg import site as site_module
from sealora_common.secagg.bodies import (
    CheckRequest,
    CheckStatement,
    MaskRequest,
    MaskStatement,
    ShareMessage,
    ShareStatement,
    Survivors,
    split_masked,
)
from sealora_common.secagg.messages import Kind, bundle, sign
from sealora_common.secagg.site_state import SiteStage
from sealora_common.secagg.terms import most_corrupted
from sealora_common.secagg.transcript import Shared, keys_digest
from secagg_secrets import Secrets, Sent

from secagg_attacker import body_of
from secagg_runs import Federation, clone_site, vector_of

Session = tuple[int, int]
"""A site, and which of its two sessions."""


@dataclass
class Masked:
    """A masked vector that left an honest session: the keys of its mask streams, which the adversary may not know."""

    session: Session
    message: bytes
    transcript: bytes
    plus: Sequence[bytes]
    minus: Sequence[bytes]


@dataclass
class Adversary:
    """See the module. Its honest sessions are asked by `ask`, each for whatever stage it is at."""

    federation: Federation
    seed: int
    corrupted: tuple[int, ...] = ()
    sessions: dict[Session, SiteSession] = field(default_factory=dict)
    advertised: dict[Session, bytes] = field(default_factory=dict)
    sent: dict[Session, Sent] = field(default_factory=dict)
    of_corrupted: dict[tuple[int, bytes, int], tuple[Sent, SiteSession]] = field(default_factory=dict)
    told_keys: dict[Session, bytes] = field(default_factory=dict)
    checks: dict[Session, bytes] = field(default_factory=dict)
    disclosures: list[tuple[Session, bytes]] = field(default_factory=list)
    masked: dict[Session, Masked] = field(default_factory=dict)
    confirmed: dict[Session, tuple[Survivors, bytes]] = field(default_factory=dict)
    openings: dict[Session, bytes] = field(default_factory=dict)
    site_class: type[SiteSession] = SiteSession

    def __post_init__(self) -> None:
        size = len(self.federation)
        self.chosen = random.Random(self.seed)
        self.corrupted = tuple(range(size - most_corrupted(size), size))
        self.honest = tuple(range(size - len(self.corrupted)))
        for site in range(size):
            for which in (0, 1):
                self.sessions[site, which], self.advertised[site, which] = self.federation.begin(site, self.site_class)
        needed = self.federation.terms.needed
        everyone = set(range(size))
        # Few sets, so that sites are often told the same: all, and what is left without one, two, ... honest sites.
        self.sets = [everyone]
        for count in range(1, size - needed + 1):
            self.sets += [everyone - set(self.chosen.sample(self.honest, count)) for _ in range(2)]

    def ask(self, session: Session, told: int, deviation: int) -> str:
        """Asks an honest session for its next stage.

        Args:
            session: which one.
            told: number of the set of sites that it is told of.
            deviation: a lie to tell besides, by number; most numbers are none.

        Returns:
            The stage that was answered, or "" if it would not be.
        """
        site = self.sessions[session]
        asks: dict[SiteStage, Callable[[Session, set[int], int], bytes]] = {
            SiteStage.ADVERTISED: self._share,
            SiteStage.SHARED: self._check,
            SiteStage.CHECKED: self._disclose_or_mask,
            SiteStage.DISCLOSED: self._mask,
            SiteStage.MASKED: self._confirm,
            SiteStage.CONFIRMED: self._open,
        }
        stage = site._state.stage
        if stage not in asks:
            return ""
        members = self.sets[told % len(self.sets)] | {session[0]}
        # The adversary can tell beforehand what would be refused, and does not waste a session on it.
        kept = clone_site(site)
        try:
            asks[stage](session, members, deviation)
        except FederationError:
            self.sessions[session] = kept
            return ""
        return stage.name

    def readable(self) -> list[frozenset[Session]]:
        """Raises AssertionError if a combination of vectors can be read that is no sum a set of sites was opened for.

        Returns:
            The sessions in each sum that can be read.
        """
        messages = list(self.masked.values())
        known = self._known_keys()
        unknown = {key for one in messages for key in (*one.plus, *one.minus)} - known
        rows = {key: place for place, key in enumerate(sorted(unknown))}
        system = np.zeros((len(rows), len(messages)))
        for place, one in enumerate(messages):
            for sign_of, streams in ((1, one.plus), (-1, one.minus)):
                for key in streams:
                    if key in rows:
                        system[rows[key], place] += sign_of
        allowed = []
        for transcript, survivors in self.opened_sets():
            place_of = [float(one.transcript == transcript and one.session[0] in survivors) for one in messages]
            if not np.any(system @ np.array(place_of)) and any(place_of):
                allowed.append(place_of)
        rank = int(np.linalg.matrix_rank(system)) if rows and messages else 0
        readable = len(messages) - rank
        legitimate = int(np.linalg.matrix_rank(np.array(allowed))) if allowed else 0
        assert readable == legitimate, f"{readable} combinations can be read, {legitimate} of them are opened sums"
        return [
            frozenset(one.session for one, inside in zip(messages, of_sum, strict=True) if inside) for of_sum in allowed
        ]

    def opened_sets(self) -> set[tuple[bytes, tuple[int, ...]]]:
        """The sets of survivors for which an honest session opened, with the transcript. One a transcript at most."""
        opened = {(self.confirmed[each][0].transcript, self.confirmed[each][0].indices) for each in self.openings}
        assert len({transcript for transcript, _ in opened}) == len(opened), "two sets were opened of one transcript"
        for _, survivors in opened:
            assert len(survivors) >= self.federation.terms.needed
        return opened

    def signs(self, site: int, kind: Kind, body: bytes) -> bytes:
        assert site in self.corrupted
        return sign(kind, body, self.federation.terms, self.federation.identity(site), site)

    # What each stage asks. An honest session's transcript is public: the adversary has seen all that it covers.

    def _share(self, session: Session, members: set[int], deviation: int) -> None:
        site, which = session
        if self.federation.terms.neighbourhood(len(members)).neighbours >= len(members):
            members = set(range(len(self.federation)))  # a small graph of a test is for all sites
        view = dict.fromkeys(members, which)
        if deviation in (1, 2):  # the keys of the other session, of a corrupted or of any site
            other = self.chosen.choice(self.corrupted if deviation == 1 else sorted(members - {site}))
            view[other] = 1 - which
        told = bundle([self.advertised[each] for each in sorted(view.items())])
        answer = self.sessions[session].share(told)
        self.told_keys[session] = told
        self.sent[session] = self._parsed(site, answer)

    def _check(self, session: Session, members: set[int], deviation: int) -> None:
        site = self.sessions[session]
        digests = {peer: advertised.digest for peer, advertised in site._state.peers.items()}
        available = {}
        for peer in sorted(set(digests) & members):
            if peer in self.corrupted:
                variant = int(deviation == 1 and peer == self.corrupted[0])
                available[peer] = self._share_of_corrupted(peer, self.told_keys[session], variant)
            else:
                for which in (session[1],) if peer == session[0] else (0, 1):
                    sent = self.sent.get((peer, which))
                    if sent and (sent.statement.keys_digest == keys_digest(digests) or deviation == 2):
                        available.setdefault(peer, sent)
        table = {peer: Shared(sent.digest, sent.statement.neighbours) for peer, sent in available.items()}
        if deviation == 3:  # another draw of some site
            peer = self.chosen.choice(sorted(set(table) - {session[0]} or {session[0]}))
            others = sorted(set(digests) - {peer})
            drawn = self.chosen.sample(others, min(len(others), len(table[peer].neighbours)))
            table[peer] = Shared(table[peer].statement, tuple(sorted(drawn)))
        told = {
            peer: (sent.share.signed, sent.share.envelopes[session[0]])
            for peer, sent in available.items()
            if session[0] in sent.share.envelopes and session[0] in table[peer].neighbours
        }
        if deviation == 4 and told:  # withheld
            del told[self.chosen.choice(sorted(told))]
        self.checks[session] = site.check(CheckRequest(table, told).to_bytes())

    def _disclose_or_mask(self, session: Session, members: set[int], deviation: int) -> None:
        if deviation in (1, 2):
            self._disclose(session, deviation)
        else:
            self._mask(session, members, deviation)

    def _disclose(self, session: Session, deviation: int) -> None:
        site = self.sessions[session]
        body = CheckStatement(site._state.transcript.shared_digest, (session[0],)).to_bytes()
        complaints = [self.signs(each, Kind.CHECK, body) for each in self.corrupted]
        if deviation == 2:  # what others signed passes as complaints
            complaints += [check for (peer, _), check in self.checks.items() if peer != session[0]]
        answer = site.disclose(bundle(complaints[: len(self.federation)]))
        self.disclosures.append((session, answer))

    def _mask(self, session: Session, members: set[int], deviation: int) -> None:
        site = self.sessions[session]
        told, shared_digest = site._state.transcript.shared, site._state.transcript.shared_digest
        checks = [self.checks[session]]
        for peer in sorted(set(told) & members - {session[0]}):
            if peer in self.corrupted:
                checks.append(self.signs(peer, Kind.CHECK, CheckStatement(shared_digest, ()).to_bytes()))
                continue
            for which in (0, 1):
                check = self.checks.get((peer, which))
                if check is None:
                    continue
                fits = self.sessions[peer, which]._state.transcript.shared_digest == shared_digest
                if fits or (deviation == 3 and which == 0):
                    checks.append(check)
                    break
        streams: list[tuple[Sequence[bytes], Sequence[bytes]]] = []
        apply = site_module.apply_masks

        def noted(vector: Any, plus: Sequence[bytes], minus: Sequence[bytes]) -> None:
            streams.append((plus, minus))
            apply(vector, plus, minus)

        site_module.apply_masks = noted
        try:
            message = site.mask(MaskRequest(checks, []).to_bytes(), vector_of(self.federation.terms.segments, *session))
        finally:
            site_module.apply_masks = apply
        ((plus, minus),) = streams
        self.masked[session] = Masked(session, message, site._state.transcript.digest, plus, minus)

    def _confirm(self, session: Session, members: set[int], deviation: int) -> None:
        site = self.sessions[session]
        transcript = site._state.transcript
        statements = []
        for peer in sorted(set(transcript.checked) & members):
            if peer in self.corrupted:
                statement = MaskStatement(transcript.digest, bytes(32))
                statements.append(self.signs(peer, Kind.MASK, statement.to_bytes()))
                continue
            for which in (0, 1):
                one = self.masked.get((peer, which))
                if one and (one.transcript == transcript.digest or (deviation == 1 and which != session[1])):
                    statements.append(split_masked(one.message)[0])
                    break
        answer = site.confirm(bundle(statements))
        body = body_of(answer, Kind.CONFIRM, self.federation)
        self.confirmed[session] = (Survivors.from_bytes(body), answer)

    def _open(self, session: Session, members: set[int], deviation: int) -> None:
        site = self.sessions[session]
        expected, own = self.confirmed[session]
        told = [own]
        for (peer, which), (confirmed, message) in self.confirmed.items():
            if (peer, which) != session and (confirmed == expected or (deviation == 1 and peer != session[0])):
                told.append(message)
        told += [self.signs(each, Kind.CONFIRM, expected.to_bytes()) for each in self.corrupted]
        if deviation == 2:
            told = [own] * len(self.federation)
        self.openings[session] = site.open(bundle(told[: len(self.federation)]))

    def _share_of_corrupted(self, site: int, told: bytes, variant: int) -> Sent:
        """What a corrupted site shares with those that were told these keys; it can sign a second statement as well."""
        place = (site, told, variant)
        if place not in self.of_corrupted:
            for which in (0, 1):
                session = clone_site(self.sessions[site, which])
                with suppress(FederationError):
                    self.of_corrupted[place] = (self._parsed(site, session.share(told)), session)
                    break
        return self.of_corrupted[place][0]

    def _parsed(self, site: int, message: bytes) -> Sent:
        share = ShareMessage.from_bytes(message)
        return Sent(site, share, ShareStatement.from_bytes(body_of(share.signed, Kind.SHARE, self.federation)))

    def _known_keys(self) -> set[bytes]:
        """All keys of mask streams that the adversary can compute."""
        secrets = Secrets(self.federation, [*self.sent.values(), *(sent for sent, _ in self.of_corrupted.values())])
        for (site, _), session in self.sessions.items():
            if site in self.corrupted:
                secrets.open_as_holder(site, session)
        for sent, session in self.of_corrupted.values():
            for holder, given in session._state.given.items():
                secrets.take(sent, holder, given)
        for each, message in self.disclosures:
            secrets.take_disclosure(self.sent[each], message)
        for each, message in self.openings.items():
            secrets.take_opening(self.sent[each], message)
        secrets.restore()
        return secrets.stream_keys()
