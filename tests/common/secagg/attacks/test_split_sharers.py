"""Two sets of sites that go on, in a sparse graph: the server hides most of the victim's honest neighbours from the
victim and drops the others, each within what the neighbourhood's threshold allows.

Ten sites, three of them corrupted; a neighbourhood of six, five shares restore a secret. The victim drew the three
corrupted sites and honest sites 1, 2, 3. It is told that 1 and 2 did not check their shares, so it does not mask with
them, but they hold its own; then 3 drops out, and its mask seed is restored. All that is left on the victim's vector
are masks the server knows. The rule: every site's statement names the transcript it masked under, and all must agree.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector, SiteSession
from sealora_common.secagg.bodies import MaskRequest
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.messages import bundle
from secagg_weakened import weakened

from secagg_attacker import Attacker, plan_draws, told_survivors
from secagg_runs import Federation, Run, same, vector_of

FEDERATION = Federation.of(10, small_graph=Neighbourhood(6, 5))
VICTIM, HIDDEN, DROPPED = 0, (1, 2), 3
CORRUPTED = (7, 8, 9)
DRAWS = {
    0: (1, 2, 3, 7, 8, 9),
    1: (2, 4, 5, 6, 7, 8),
    2: (1, 4, 5, 6, 7, 8),
    3: (1, 2, 4, 5, 7, 8),
    4: (1, 2, 5, 6, 7, 8),
    5: (1, 2, 4, 6, 7, 8),
    6: (1, 2, 4, 5, 7, 8),
}


def hide_and_drop(site_class: type[SiteSession], monkeypatch: pytest.MonkeyPatch) -> tuple[Run, RingVector | None]:
    plan_draws(monkeypatch, len(FEDERATION), DRAWS)
    run = Run(FEDERATION, site_class=site_class).until("mask")
    attacker = Attacker.watching(run, CORRUPTED)
    requests = run.close("mask")
    hidden = MaskRequest([run.answers["check"][index] for index in range(10) if index not in HIDDEN], []).to_bytes()
    masked = {VICTIM: run.sites[VICTIM].mask(hidden, vector_of(FEDERATION.terms.segments, VICTIM))}
    for index in set(range(1, 10)):
        masked[index] = run.answer("mask", index, requests[index])

    told = sorted(set(range(10)) - {DROPPED})
    willing = [index for index in told if index != VICTIM]  # the victim itself need not be asked
    confirmations = bundle([told_survivors(run.sites[index], masked, told) for index in willing])
    for index in willing:
        attacker.hears_opening(run.sites[index].open(confirmations))
    return run, attacker.reads({VICTIM: masked[VICTIM]}, {VICTIM: {DROPPED, *CORRUPTED}})


def test_a_victim_is_read_where_statements_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    careless = weakened(SiteSession, confirm=("if statement.transcript != state.transcript.digest:", "if False:"))
    _, read = hide_and_drop(careless, monkeypatch)
    assert read is not None
    assert same(read, vector_of(FEDERATION.terms.segments, VICTIM))


def test_different_sets_of_sites_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProtocolError, match="two different sets of keys, shares or sites"):
        hide_and_drop(SiteSession, monkeypatch)
