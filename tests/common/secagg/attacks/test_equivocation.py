"""Equivocation: a turned member signs two statements of one session, and the server shows each to some of the sites.

Were what each site shared not part of the transcript, honest sites would open shares that fit the one and not the
other: the server could choose, for each of them, the statement by which it seems to lie. The rule: a table with every
statement's digest is signed by all in the transcript, so that sites that were shown different ones go no further.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealora_common.secagg import Fault, FaultKind, ProtocolError
from sealora_common.secagg.bodies import CheckRequest, MaskRequest, ShareMessage
from sealora_common.secagg.messages import bundle
from sealora_common.secagg.transcript import Transcript
from secagg_weakened import weaken

from secagg_attacker import Relay, shared_of, told_survivors
from secagg_runs import Federation, Run, clone_site

FEDERATION = Federation.of(7)
TURNED, COLLUDING = 6, 5
HONEST = (0, 1, 2, 3, 4)
SHOWN_THE_SECOND = (0, 1)


def two_statements() -> tuple[Run, Relay, bytes]:
    """A session before the check stage, and the second message of the turned site's share stage."""
    run = Run(FEDERATION)
    run.step("advertise")
    everyone = run.close("share")
    second = clone_site(run.sites[TURNED]).share(everyone[TURNED])
    relay = Relay(run.sites, run.answers["advertise"])
    relay.shared = {index: run.answer("share", index, request) for index, request in everyone.items()}
    run.answers["share"] = relay.shared
    return run, relay, second


def request_with(relay: Relay, index: int, second: bytes) -> bytes:
    """What a site is told that is to see the second statement."""
    told = relay.check_request(index)
    share = ShareMessage.from_bytes(second)
    table = told.table | {TURNED: shared_of(second)}
    return CheckRequest(table, told.sent | {TURNED: (share.signed, share.envelopes[index])}).to_bytes()


def split(run: Run, relay: Relay, second: bytes) -> None:
    for index, site in run.sites.items():
        told = relay.check_request(index).to_bytes()
        relay.checked[index] = site.check(request_with(relay, index, second) if index in SHOWN_THE_SECOND else told)


def frame(run: Run, relay: Relay) -> Fault:
    """Has the sites open, and shows of one that was shown the second statement that it lied about the first."""
    checks = MaskRequest(list(relay.checked.values()), []).to_bytes()
    masked = {index: run.answer("mask", index, checks) for index in range(7)}
    told = tuple(index for index in range(7) if index != COLLUDING)
    confirmations = bundle([told_survivors(run.sites[index], masked, told) for index in told])
    transcript = run.sites[0]._state.transcript
    opened = {index: run.sites[index].open(confirmations) for index in told}
    first = ShareMessage.from_bytes(relay.shared[TURNED])
    table = dict(transcript.shared) | {TURNED: shared_of(relay.shared[TURNED])}
    shown = Transcript(transcript.keys, table, transcript.checked)
    return Fault(0, FaultKind.SHARE, FEDERATION.terms, shown, (first.signed, opened[0]))


def test_an_honest_site_is_framed_where_statements_are_not_agreed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, Transcript, "shared_digest", (" + table_bytes(self.shared)", ""))
    run, relay, second = two_statements()
    split(run, relay, second)
    frame(run, relay).prove(FEDERATION.roster)


@pytest.mark.parametrize("asked", HONEST)
def test_sites_that_were_shown_two_statements_do_not_mask(asked: int) -> None:
    run, relay, second = two_statements()
    split(run, relay, second)
    checks = MaskRequest(list(relay.checked.values()), []).to_bytes()
    with pytest.raises(ProtocolError, match="two different sets of keys or shares"):
        run.answer("mask", asked, checks)


def test_a_site_is_not_shown_both() -> None:
    """The statement beside an envelope is the one that the table tells of."""
    run, relay, second = two_statements()
    told = relay.check_request(0)
    share = ShareMessage.from_bytes(second)
    mixed = CheckRequest(told.table, told.sent | {TURNED: (share.signed, share.envelopes[0])}).to_bytes()
    with pytest.raises(ProtocolError, match="not the one that the server told of"):
        run.sites[0].check(mixed)


def test_an_envelope_is_the_one_that_was_signed_for() -> None:
    run, relay, second = two_statements()
    told = relay.check_request(0)
    signed, _ = told.sent[TURNED]
    envelope = ShareMessage.from_bytes(second).envelopes[0]
    with pytest.raises(ProtocolError, match="not the one its sender signed for"):
        run.sites[0].check(CheckRequest(told.table, told.sent | {TURNED: (signed, envelope)}).to_bytes())


def test_the_statement_of_another_site_does_not_pass_as_this_ones() -> None:
    run, relay, _ = two_statements()
    told = relay.check_request(0)
    table = told.table | {TURNED: replace(told.table[TURNED], statement=told.table[COLLUDING].statement)}
    with pytest.raises(ProtocolError, match="not the one that the server told of"):
        run.sites[0].check(CheckRequest(table, told.sent | {TURNED: told.sent[COLLUDING]}).to_bytes())
