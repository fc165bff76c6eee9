"""A contribution that does not open: a turned survivor and a turned peer that drops out without a complaint.

The survivor's mask with the peer can then not be taken off. The rule: what the restored key opens is held against the
commitment; where it does not fit, the survivor is named by its statement and the envelope, for the peer's restored
seed opens it to anybody. An honest peer would have complained, so no honest site is party to it.
"""

from __future__ import annotations

import os

import pytest

from sealora_common.secagg import Fault, FaultKind, OpenedSum, ProtocolError, SiteSession, keys
from sealora_common.secagg.bodies import Committed, Envelope, Given
from sealora_common.secagg.unmasking import Unmasking
from secagg_turned import Silent, Turned, go_on, sealing_rubbish, turn
from secagg_weakened import weaken

from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(7)
SURVIVOR, PEER = 5, 6


class Unopenable(Turned):
    """Seals no contribution to its peer, and commits to the empty string."""

    def seals(self, holder: int, envelope: Envelope) -> Envelope:
        return envelope if holder != PEER else Envelope(envelope.shares, bytes(len(envelope.contribution)))

    def commits(self, holder: int, committed: Committed) -> Committed:
        nothing = keys.commitment(b"contribution", self._index, holder, b"", self._terms.digest)
        return committed if holder != PEER else Committed(committed.self_mask, committed.mask_seed, nothing)


class Other(Turned):
    """Seals another contribution to its peer than it commits to."""

    def seals(self, holder: int, envelope: Envelope) -> Envelope:
        if holder != PEER:
            return envelope
        true = self._state.given[holder]
        false = Given(true.self_mask, true.mask_seed, os.urandom(32))
        return Envelope.seal(false, self._state.peers[holder], self._index, holder, self._terms.digest)


def collude(turned: type[SiteSession]) -> tuple[Run, OpenedSum]:
    run = Run(FEDERATION)
    run.step("advertise")
    return finish(turn(run, {SURVIVOR: turned, PEER: Silent}))


def finish(run: Run) -> tuple[Run, OpenedSum]:
    go_on(run, "open", {PEER: "mask"}).step("open", {PEER})
    return run, run.server.open()


def test_the_sum_is_noise_where_a_contribution_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(
        monkeypatch,
        Unmasking,
        "_contribution",
        ("if contribution_fits(self.statements[survivor], survivor, dropped, opened, self.terms.digest):", "if True:"),
    )
    run, opened = collude(Other)
    assert not same(opened.vector, run.expected(opened.survivors))
    assert not run.server.faults


@pytest.mark.parametrize("turned", [sealing_rubbish(PEER), Unopenable, Other])
def test_a_survivor_whose_contribution_does_not_open_is_named(turned: type[SiteSession]) -> None:
    run = Run(FEDERATION)
    run.step("advertise")
    turn(run, {SURVIVOR: turned, PEER: Silent})
    with pytest.raises(ProtocolError, match="contribution of site 'site-0005' to a mask does not open"):
        finish(run)
    (fault,) = run.server.faults
    assert (fault.site, fault.kind) == (SURVIVOR, FaultKind.CONTRIBUTION)
    fault.prove(FEDERATION.roster)
    Fault.from_bytes(fault.to_bytes()).prove(FEDERATION.roster)


@pytest.mark.parametrize("turned", [sealing_rubbish(PEER), Other])
def test_an_honest_peer_complains_and_the_round_goes_on(turned: type[SiteSession]) -> None:
    run = Run(FEDERATION)
    run.step("advertise")
    turn(run, {SURVIVOR: turned})
    _, opened = finish(run)
    assert same(opened.vector, run.expected((0, 1, 2, 3, 4, 5)))
    assert not run.server.faults
