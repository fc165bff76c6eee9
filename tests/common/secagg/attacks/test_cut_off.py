"""Cutting a site off: in a sparse graph the server drops a victim's honest neighbours, one by one, until all masks
left on its vector are shared with corrupted sites.

Ten sites, three of them corrupted; the victim drew the three and honest sites 1 and 2, which the server drops. What
protects it is the neighbourhood's threshold: so many of its holders must survive that honest ones are among them,
and its shares cannot restore its self-mask otherwise. A site sees beforehand that too few holders are left, and opens
nothing; `test_graph` shows that the real sizes leave the server no such victim.
"""

from __future__ import annotations

import pytest

from sealora_common.errors import FederationError
from sealora_common.secagg import RingVector, SiteSession, TooFewSitesError
from sealora_common.secagg.bodies import Survivors
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import Kind, bundle

from secagg_attacker import Attacker, plan_draws, told_survivors, weakened
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
CARELESS = weakened(SiteSession, _require_holders=("if left < self._neighbourhood().threshold:", "if False:"))


def cut_off(
    site_class: type[SiteSession], threshold: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[int, str], RingVector | None]:
    """Drops the victim's honest neighbours; returns who refused to go on and why, and what was read."""
    federation = Federation.of(10, small_graph=Neighbourhood(5, threshold))
    plan_draws(monkeypatch, len(federation), DRAWS)
    run = Run(federation, site_class=site_class).until("confirm")
    attacker = Attacker(federation)
    attacker.hears_keys(run.answers["advertise"].values())
    for index in CORRUPTED:
        attacker.corrupts(run.sites[index])
    told = sorted(set(range(10)) - set(DROPPED))
    masked = run.answers["mask"]
    refused: dict[int, str] = {}
    confirmations = []
    for index in told:
        if index in CORRUPTED:
            body = Survivors(run.sites[VICTIM]._secrets.transcript, tuple(told)).to_bytes()
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
    refused, read = cut_off(SiteSession, 4, monkeypatch)
    assert not refused
    assert read is not None
    assert same(read, vector_of(Federation.of(10).terms.segments, VICTIM))


def test_a_victim_that_is_cut_off_is_not_read_and_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, read = cut_off(SiteSession, 5, monkeypatch)
    assert read is None
    assert "only 4 holders of site" in refused[VICTIM]


def test_sites_that_do_not_count_holders_open_what_cannot_be_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count alone is not what keeps the victim's vector secret: the threshold of its shares is."""
    refused, read = cut_off(CARELESS, 5, monkeypatch)
    assert not refused
    assert read is None


def test_a_site_whose_holders_did_not_share_does_not_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = Federation.of(10, small_graph=Neighbourhood(5, 5))
    plan_draws(monkeypatch, len(federation), DRAWS)
    run = Run(federation).until("mask", dict.fromkeys(DROPPED, "share"))
    with pytest.raises(TooFewSitesError, match="only 4 holders of site"):
        run.answer("mask", VICTIM, run.close("mask")[VICTIM])


def test_a_holder_does_not_confirm_when_another_sites_holders_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = Federation.of(10, small_graph=Neighbourhood(5, 5))
    plan_draws(monkeypatch, len(federation), DRAWS | {3: (1, 2, 4, 5, 6)})
    run = Run(federation).until("confirm", dict.fromkeys(DROPPED, "mask"))
    with pytest.raises(TooFewSitesError, match="holders of site 'site-0003'"):
        run.answer("confirm", 4, run.close("confirm")[4])
