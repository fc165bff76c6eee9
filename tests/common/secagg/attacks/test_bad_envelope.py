"""Bad envelopes: a turned member seals rubbish to one site or to all, and signs for it.

A site that refused to go on would have lost the round through no fault of its own. The rule: it complains, before any
vector has left; the sender discloses that one piece or is out, and is named if more sites complain than can be
corrupted.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealora_common.secagg import FaultKind, OpenedSum, ProtocolError, SiteSession
from sealora_common.secagg.bodies import Committed, Disclosure
from sealora_common.secagg.messages import Kind
from secagg_turned import Turned, giving, go_on, sealing_rubbish, turn
from secagg_weakened import weakened

from secagg_attacker import body_of
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(7)
TURNED = 6


def run_with(turned: type[SiteSession], honest: type[SiteSession] = SiteSession) -> Run:
    run = Run(FEDERATION, site_class=honest)
    run.step("advertise")
    return turn(run, {TURNED: turned})


def finish(run: Run, drops: dict[int, str] | None = None) -> OpenedSum:
    go_on(run, "open", drops)
    run.step("open", set(drops or {}))
    return run.server.open()


def test_a_bad_envelope_costs_its_recipient_the_round_where_it_does_not_complain() -> None:
    careless = weakened(SiteSession, check=("given = None", "raise"))
    run = run_with(sealing_rubbish(0), careless)
    with pytest.raises(ProtocolError, match="does not open"):
        finish(run)


def test_a_bad_envelope_to_one_is_made_good_by_disclosing_it() -> None:
    run = run_with(sealing_rubbish(0))
    opened = finish(run)
    assert run.sites[0]._state.stage.name == "OPENED"
    assert list(run.answers["disclose"]) == [TURNED]
    disclosed = Disclosure.from_bytes(body_of(run.answers["disclose"][TURNED], Kind.DISCLOSE, FEDERATION))
    assert set(disclosed.given) == {0}
    assert opened.survivors == tuple(range(7))
    assert same(opened.vector, run.expected(range(7)))
    assert not run.server.faults


@pytest.mark.parametrize("dropped", [0, TURNED, 3])
def test_what_was_disclosed_serves_as_well_when_a_site_drops_out(dropped: int) -> None:
    run = run_with(sealing_rubbish(0))
    opened = finish(run, {dropped: "mask"})
    assert opened.survivors == tuple(sorted(set(range(7)) - {dropped}))
    assert same(opened.vector, run.expected(opened.survivors))
    assert not run.server.faults


@pytest.mark.parametrize("recipients", [(0,), (0, 1)])
def test_a_sender_that_does_not_disclose_is_out_and_nobody_else(recipients: tuple[int, ...]) -> None:
    run = run_with(sealing_rubbish(*recipients))
    opened = finish(run, {TURNED: "disclose"})
    assert opened.survivors == tuple(range(6))
    assert same(opened.vector, run.expected(range(6)))
    assert not run.server.faults  # it may have lost its connection


@pytest.mark.parametrize("recipients", [(0, 1, 2), tuple(range(6))])
def test_a_sender_of_rubbish_to_more_than_can_be_corrupted_is_out_and_named(recipients: tuple[int, ...]) -> None:
    run = run_with(sealing_rubbish(*recipients))
    opened = finish(run)
    assert "disclose" not in run.answers or not run.answers["disclose"]
    assert opened.survivors == tuple(range(6))
    assert same(opened.vector, run.expected(range(6)))
    (fault,) = run.server.faults
    assert (fault.site, fault.kind) == (TURNED, FaultKind.COMPLAINTS)
    fault.prove(FEDERATION.roster)


def other_than_sealed(holder: int, place: str) -> type[SiteSession]:
    """A turned site that commits to another value than it seals for one holder."""

    class Lying(Turned):
        def commits(self, one: int, committed: Committed) -> Committed:
            return replace(committed, **{place: bytes(32)}) if one == holder else committed

    return Lying


@pytest.mark.parametrize("place", ["self_mask", "mask_seed", "contribution"])
def test_what_does_not_fit_its_commitment_is_complained_of_and_cannot_be_disclosed(place: str) -> None:
    run = run_with(other_than_sealed(2, place))
    go_on(run, "disclose")
    assert run.sites[2].complaints == (TURNED,)
    with pytest.raises(ProtocolError, match="disclosed other shares than it committed to"):
        run.step("disclose")
    (fault,) = run.server.faults
    assert (fault.site, fault.kind) == (TURNED, FaultKind.DISCLOSURE)
    fault.prove(FEDERATION.roster)
    run.answers["disclose"] = {}
    opened = finish(run)
    assert opened.survivors == tuple(range(6))
    assert same(opened.vector, run.expected(range(6)))


@pytest.mark.parametrize("place", ["self_mask", "mask_seed", "contribution"])
def test_a_share_that_does_not_fit_is_held_where_commitments_are_not_compared(place: str) -> None:
    """It would be opened in good faith, and its holder named."""
    careless = weakened(
        SiteSession,
        check=("or given.commitments(sender, self._index, self._terms.digest) != committed", ""),
    )
    run = run_with(other_than_sealed(2, place), careless)
    go_on(run, "disclose")
    assert run.sites[2].complaints == ()


def test_a_turned_site_that_gives_true_values_is_like_any_other() -> None:
    run = run_with(giving(lambda _site, _holder, given: given))
    opened = finish(run)
    assert same(opened.vector, run.expected(range(7)))
    assert not run.server.faults
