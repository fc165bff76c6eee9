"""A member that turns costs the others nothing but itself: it is named, shown to be at fault, and left out."""

from __future__ import annotations

import dataclasses
import itertools
import os
from hashlib import sha256

import numpy as np
import pytest
from typer.testing import CliRunner

from sealora_common.entropy import SystemEntropy
from sealora_common.errors import FederationError, PolicyError
from sealora_common.identity import Identity
from sealora_common.records.event_log import EventLog, read_events
from sealora_common.records.events import RoundAborted, RoundFinished, SiteBlamed, SiteFailed
from sealora_common.roster import Roster
from sealora_common.secagg import Fault, ProtocolError, SiteSession
from sealora_common.secagg.bodies import CheckRequest, Envelope, Given, Opening, ShareMessage
from sealora_common.secagg.messages import Kind
from sealora_server.cli import cli
from sealora_server.run.blame import Blame
from sealora_server.run.enrolment import Enrolment
from sealora_server.run.rounds import run_rounds
from sealora_server.run.store import RunStore

from lora_kinds import lora
from pure_sites import LAYOUT, PureGrid, pure_federation, pure_recipe


class RubbishToAll(SiteSession):
    """Sends everybody what nobody can open, signed."""

    def _give(self) -> ShareMessage:
        super()._give()
        return self._signed_with({holder: _rubbish() for holder in self._state.neighbours})

    def _signed_with(self, envelopes: dict[int, Envelope]) -> ShareMessage:
        """What `_give` returns, with other envelopes."""
        state = self._state
        true_seal = Envelope.seal
        sealed = dict(envelopes)

        def seal(given: Given, to: object, owner: int, holder: int, digest: bytes) -> Envelope:
            return sealed.get(holder) or true_seal(given, to, owner, holder, digest)  # type: ignore[arg-type]

        Envelope.seal = seal  # type: ignore[method-assign,assignment]
        try:
            state.given.clear()
            return super()._give()
        finally:
            Envelope.seal = true_seal  # type: ignore[method-assign]


class RubbishToOne(RubbishToAll):
    """Sends one neighbour what it cannot open, and answers for it with rubbish again."""

    def _give(self) -> ShareMessage:
        SiteSession._give(self)
        return self._signed_with({self._state.neighbours[0]: _rubbish()})

    def disclose(self, complaints: bytes) -> bytes:
        victim = self._state.neighbours[0]
        self._state.given[victim] = Given(os.urandom(32), os.urandom(32), os.urandom(32))
        return super().disclose(complaints)


class SilentWhenAsked(RubbishToOne):
    """Does not answer for it at all."""

    def disclose(self, complaints: bytes) -> bytes:
        raise RuntimeError("silence")


class FalseShares(SiteSession):
    """Opens other shares than it was given."""

    def _sign(self, kind: Kind, body: bytes) -> bytes:
        if kind is Kind.OPEN:
            opening = Opening.from_bytes(body)
            false = {owner: (what, os.urandom(32)) for owner, (what, _) in opening.shares.items()}
            body = dataclasses.replace(opening, shares=false).to_bytes()
        return super()._sign(kind, body)


class FalseSeed(SiteSession):
    """Opens another self-mask than it masked with."""

    def _sign(self, kind: Kind, body: bytes) -> bytes:
        if kind is Kind.OPEN:
            body = dataclasses.replace(Opening.from_bytes(body), self_mask=os.urandom(32)).to_bytes()
        return super()._sign(kind, body)


def _rubbish() -> Envelope:
    return Envelope(os.urandom(1200), os.urandom(1168))


class Federation:
    """A run over pure sites, of which some have turned."""

    def __init__(self, directory, turned, count=7, silent_at=None, **sections):
        recipe = pure_recipe(rounds=2, **sections)
        self.recipe = recipe
        self.store = RunStore.create(directory / "run", recipe)
        self.roster, self.sites = pure_federation(recipe, count, server=self.store.server_identity())
        self.roster.save(self.store.directory / "roster.json")
        for site in self.sites.values():
            site.session_class = turned.get(site.name, SiteSession)
        silent = silent_at or {}
        self.grid = PureGrid(
            self.sites, tamper=lambda site, action, reply: None if silent.get(site) == action else reply
        )

    def run(self):
        run_rounds(self.grid, self.store, self.roster)

    def events(self, kind):
        return [entry.event for entry in read_events(self.store.events.path) if isinstance(entry.event, kind)]

    @property
    def blamed(self):
        return {event.site: event.reason for event in self.events(SiteBlamed)}

    def prove(self, site):
        evidence = self.store.directory / "faults" / f"{site}.fault"
        Fault.from_bytes(evidence.read_bytes()).prove(self.roster)
        roster = self.store.directory / "roster.json"
        return CliRunner().invoke(cli, ["fault", str(evidence), "--roster", str(roster)])


def test_rubbish_for_everybody_loses_no_attempt_and_names_its_sender(tmp_path):
    federation = Federation(tmp_path, {"site-2": RubbishToAll})
    federation.run()
    assert federation.blamed == {"site-2": "more sites than can be corrupted could not use what it sent them"}
    assert federation.events(RoundAborted) == []
    others = {f"site-{index}" for index in (0, 1, 3, 4, 5, 6)}
    assert [set(event.survivors) for event in federation.events(RoundFinished)] == [others, others]
    assert {event.site for event in federation.events(SiteFailed)} <= {"site-2"}
    shown = federation.prove("site-2")
    assert shown.exit_code == 0
    assert "site-2 broke the sealing protocol in run" in shown.output


def test_rubbish_for_one_is_answered_for_or_shown(tmp_path):
    federation = Federation(tmp_path, {"site-2": RubbishToOne})
    federation.run()
    assert federation.blamed == {"site-2": "it disclosed other shares than it had committed to"}
    assert [len(event.survivors) for event in federation.events(RoundFinished)] == [6, 6]
    assert federation.events(RoundAborted) == []
    assert federation.prove("site-2").exit_code == 0


def test_who_does_not_answer_for_it_is_left_out_of_the_round_and_not_blamed(tmp_path):
    federation = Federation(tmp_path, {"site-2": SilentWhenAsked})
    federation.run()
    assert federation.blamed == {}
    assert [len(event.survivors) for event in federation.events(RoundFinished)] == [6, 6]


@pytest.mark.parametrize("turned", [FalseShares, FalseSeed])
def test_false_shares_and_seeds_are_found_and_the_sum_is_right(tmp_path, turned):
    # Shares are needed of a site that is lost at the mask stage; a false seed shows at once.
    federation = Federation(tmp_path, {"site-2": turned}, silent_at={"site-5": "query.mask"})
    federation.run()
    assert set(federation.blamed) == {"site-2"}
    finished = federation.events(RoundFinished)
    assert [len(event.survivors) for event in finished] == [6, 5]
    shared = lora().shared(LAYOUT)
    moved = shared.flatten(federation.store.adapter(1, LAYOUT)) - shared.flatten(federation.store.adapter(0, LAYOUT))
    deltas = [site.deltas(site.name, 1) for site in federation.sites.values() if site.name != "site-5"]
    np.testing.assert_allclose(moved, np.mean(deltas, axis=0), atol=1e-5)
    assert federation.prove("site-2").exit_code == 0


def test_attempts_that_name_somebody_are_not_counted(tmp_path):
    """Two turned members one after the other, and a recipe that tries a round once."""
    federation = Federation(
        tmp_path,
        {"site-1": RubbishToAll, "site-2": RubbishToAll},
        sites={"round_attempts": 1, "minimum": 6},
        sealing={"min_survivors": 6},
    )
    with pytest.raises(FederationError, match="failed 2 times"):
        federation.run()
    assert set(federation.blamed) == {"site-1", "site-2"}
    assert [event.attempt for event in federation.events(RoundAborted)] == [1, 2]


def nonce_that_deals_together(names, of, groups):
    """A nonce under which these of the sites are in one group."""
    for number in itertools.count():
        nonce = f"{number:032x}"
        prefix = b"sealora groups v1\n" + bytes.fromhex(nonce)
        dealt = sorted(of, key=lambda name: sha256(prefix + name.encode()).digest())
        if any(set(names) <= set(dealt[first::groups]) for first in range(groups)):
            return nonce


class Slanderer(SiteSession):
    """Complains of site-0, whatever it was sent."""

    def check(self, request: bytes) -> bytes:
        super().check(request)
        for site, (signed, _) in CheckRequest.from_bytes(request).sent.items():
            if self._roster.names[site] == "site-0":
                self._state.held.pop(site, None)
                self._state.accused[site] = signed
        return self._sign(Kind.CHECK, self._own_check().to_bytes())


GROUPED = {"groups": 4, "adversary": "malicious"}


def test_members_that_chance_deals_together_frame_no_honest_one(tmp_path, monkeypatch):
    """Two of thirteen: more than can be corrupted of a group of three, and fewer than of the roster."""
    turned = {"site-1": Slanderer, "site-2": Slanderer}
    federation = Federation(tmp_path, turned, count=13, sealing=GROUPED, sites={"minimum": 12})
    nonce = nonce_that_deals_together(["site-0", "site-1", "site-2"], federation.roster.names, 4)
    monkeypatch.setattr("secrets.token_hex", lambda _: nonce)
    federation.run()
    assert federation.blamed == {}
    assert all("site-0" in event.survivors for event in federation.events(RoundFinished))


def test_evidence_from_a_group_shows_the_fault_to_anybody_with_the_roster(tmp_path):
    turned = {"site-5": FalseSeed}
    federation = Federation(tmp_path, turned, count=13, sealing=GROUPED, sites={"minimum": 12})
    federation.run()
    assert list(federation.blamed) == ["site-5"]
    shown = federation.prove("site-5")
    assert shown.exit_code == 0
    assert shown.output.startswith("site-5 broke the sealing protocol in run")
    others = federation.roster.without_member("site-0")
    evidence = Fault.from_bytes((federation.store.directory / "faults" / "site-5.fault").read_bytes())
    for changed, roster in (
        (evidence, others),
        (dataclasses.replace(evidence, members=()), federation.roster),
        (dataclasses.replace(evidence, members=evidence.members[1:]), federation.roster),
        (dataclasses.replace(evidence, members=(*evidence.members, 13)), federation.roster),
        (dataclasses.replace(evidence, site=(evidence.site + 1) % len(evidence.members)), federation.roster),
    ):
        with pytest.raises(ProtocolError):
            changed.prove(roster)


def test_evidence_that_was_touched_shows_nothing(tmp_path):
    federation = Federation(tmp_path, {"site-2": RubbishToAll})
    federation.run()
    (blamed,) = federation.events(SiteBlamed)
    evidence = federation.store.directory / blamed.evidence
    content = evidence.read_bytes()
    evidence.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    roster = federation.store.directory / "roster.json"
    shown = CliRunner().invoke(cli, ["fault", str(evidence), "--roster", str(roster)])
    assert shown.exit_code == 1
    assert isinstance(shown.exception, PolicyError)
    assert "nobody is to blame on this" in str(shown.exception)


def test_a_blamed_site_takes_part_again_when_its_evidence_is_moved_away(tmp_path):
    federation = Federation(tmp_path, {"site-2": RubbishToAll})
    enrolment = Enrolment(federation.grid, federation.recipe, federation.roster, "ab" * 16, lambda: ("site-2",))
    enrolment.wait()
    (refusal,) = enrolment.turned_away
    assert refusal.site == "site-2"
    assert "faults/site-2.fault" in refusal.reason
    enrolment.blamed = tuple
    enrolment.wait()
    assert "site-2" in enrolment.ready


def test_only_evidence_that_convinces_others_leaves_a_site_out_and_the_first_is_enough(tmp_path):
    federation = Federation(tmp_path, {"site-2": RubbishToAll})
    federation.run()
    fault = Fault.from_bytes((federation.store.directory / "faults" / "site-2.fault").read_bytes())
    strangers = Roster.create(
        "pure",
        {name: Identity.create(f"another {name}", SystemEntropy()).public_key for name in federation.roster.names},
        Identity.create("coordinator", SystemEntropy()),
    )
    for roster, expected in ((strangers, ()), (federation.roster, ("site-2",)), (federation.roster, ("site-2",))):
        events = EventLog(tmp_path / "other" / "events.jsonl")
        blame = Blame(tmp_path / "other", events)
        blame.note(fault, roster)
        assert blame.sites() == expected
    assert [type(entry.event) for entry in read_events(events.path)] == [SiteBlamed]
