"""Cutting a site off: in a sparse graph the server drops a victim's honest neighbours, one by one, until all masks
left on its vector are shared with corrupted sites.

Ten sites, three of them corrupted; the victim drew the three and honest sites 1 and 2, which the server drops. What
protects it is the neighbourhood's threshold: so many of its holders must survive that honest ones are among them. A
site counts its own, and those of the sites whose shares it holds, and opens nothing where too few are left;
`test_graph` shows that the real sizes leave the server no such victim.
"""

from __future__ import annotations

import pytest

from sealora_common.errors import FederationError
from sealora_common.secagg import RingVector, TooFewSitesError
from sealora_common.secagg.bodies import MaskRequest, Survivors
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Kind, bundle
from sealora_common.secagg.site_review import Review
from secagg_weakened import weaken

from secagg_attacker import Attacker, plan_draws, told_survivors
from secagg_runs import Federation, Run, same, vector_of

VICTIM, DROPPED = 0, (1, 2)
CORRUPTED = (7, 8, 9)
DRAWS = {
    0: (1, 2, 7, 8, 9),
    1: (3, 4, 5, 6, 7),
    2: (3, 4, 5, 6, 7),
    3: (4, 5, 6, 7, 8),
    4: (3, 5, 6, 7, 8),
    5: (3, 4, 6, 7, 8),
    6: (3, 4, 5, 7, 8),
    7: (3, 4, 5, 6, 8),
    8: (3, 4, 5, 6, 7),
    9: (3, 4, 5, 6, 7),
}


def cut_off(threshold: int, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[int, str], RingVector | None]:
    """Drops the victim's honest neighbours; returns who refused to go on and why, and what was read."""
    federation = Federation.of(10, small_graph=Neighbourhood(5, threshold))
    plan_draws(monkeypatch, len(federation), DRAWS)
    run = Run(federation).until("confirm")
    attacker = Attacker.watching(run, CORRUPTED)
    told = sorted(set(range(10)) - set(DROPPED))
    masked = run.answers["mask"]
    refused: dict[int, str] = {}
    confirmations = []
    for index in told:
        if index in CORRUPTED:
            body = Survivors(run.sites[VICTIM]._state.transcript.digest, tuple(told)).to_bytes()
            confirmations.append(attacker.signs(index, Kind.CONFIRM, body))
            continue
        try:
            confirmations.append(told_survivors(run.sites[index], masked, told))
        except FederationError as error:
            refused[index] = str(error)
    for index in sorted(set(told) - set(refused) - set(CORRUPTED)):
        attacker.hears_opening(run.sites[index].open(bundle(confirmations)))
    return refused, attacker.reads({VICTIM: masked[VICTIM]}, {VICTIM: {*DROPPED, *CORRUPTED}})


def test_a_victim_is_read_where_the_neighbourhood_threshold_is_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, read = cut_off(4, monkeypatch)
    assert not refused
    assert read is not None
    assert same(read, vector_of(Federation.of(10).terms.segments, VICTIM))


def test_a_victim_that_is_cut_off_is_not_read_and_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, read = cut_off(5, monkeypatch)
    assert read is None
    assert "only 4 holders of site" in refused[VICTIM]


def test_a_victim_that_does_not_count_its_holders_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its shares restore nothing, but it opens its self-mask itself."""
    weaken(monkeypatch, Review, "require_holders", ("if left < self.neighbourhood.threshold:", "if False:"))
    refused, read = cut_off(5, monkeypatch)
    assert not refused
    assert read is not None
    assert same(read, vector_of(Federation.of(10).terms.segments, VICTIM))


def test_a_site_whose_holders_did_not_share_goes_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = Federation.of(10, small_graph=Neighbourhood(5, 5))
    plan_draws(monkeypatch, len(federation), DRAWS)
    run = Run(federation).until("check", dict.fromkeys(DROPPED, "share"))
    with pytest.raises(TooFewSitesError, match="only 4 holders of site"):
        run.answer("check", VICTIM, run.close("check")[VICTIM])


def test_a_site_whose_holders_did_not_check_does_not_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = Federation.of(10, small_graph=Neighbourhood(5, 5))
    plan_draws(monkeypatch, len(federation), DRAWS)
    run = Run(federation).until("mask")
    request = run.close("mask")[VICTIM]
    told = MaskRequest.from_bytes(request, limit=10)
    checks = [check for index, check in enumerate(told.checks) if index not in DROPPED]
    with pytest.raises(TooFewSitesError, match="only 4 holders of site 'site-0000'"):
        run.answer("mask", VICTIM, MaskRequest(checks, []).to_bytes())


def test_a_holder_does_not_mask_when_another_sites_holders_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = Federation.of(10, small_graph=Neighbourhood(5, 5))
    plan_draws(monkeypatch, len(federation), DRAWS | {3: (1, 2, 4, 5, 6)})
    run = Run(federation).until("mask")
    told = MaskRequest.from_bytes(run.close("mask")[4], limit=10)
    checks = [check for index, check in enumerate(told.checks) if index not in DROPPED]
    with pytest.raises(TooFewSitesError, match="holders of site 'site-0003'"):
        run.answer("mask", 4, MaskRequest(checks, []).to_bytes())


def test_neighbours_of_its_own_choice_that_fall_silent_cost_a_site_the_round_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the server's count its honest holders would refuse to mask."""
    federation = Federation.of(10, small_graph=Neighbourhood(4, 4))
    turned, silent = 7, (8, 9)
    draws = {index: tuple(peer for peer in range(7) if peer != index)[:4] for index in range(10)}
    plan_draws(monkeypatch, len(federation), draws | {turned: (0, 1, *silent)})
    run = Run(federation)
    opened = run.finish(dict.fromkeys(silent, "check"))
    assert opened.survivors == (0, 1, 2, 3, 4, 5, 6)
    assert same(opened.vector, run.expected(opened.survivors))


def test_a_holder_does_not_confirm_when_another_sites_holders_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = Federation.of(10, small_graph=Neighbourhood(5, 5))
    plan_draws(monkeypatch, len(federation), DRAWS | {3: (1, 2, 4, 5, 6)})
    run = Run(federation).until("confirm", dict.fromkeys(DROPPED, "mask"))
    with pytest.raises(TooFewSitesError, match="holders of site 'site-0003'"):
        run.answer("confirm", 4, run.close("confirm")[4])
