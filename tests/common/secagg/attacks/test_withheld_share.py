"""Withheld envelopes, in a sparse graph: the server does not pass on what a site sent to those it drew.

They would not mask with it, and it would stay a survivor. If nobody had drawn the site itself, no mask would tie the
others to it: the server could read the sum of the others, a strict subset of the survivors, once all have opened. The
rule: who drew whom is part of the transcript, so each site knows whose envelopes it must have.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sealora_common.secagg import ProtocolError, RingVector
from sealora_common.secagg.bodies import CheckRequest, MaskRequest
from sealora_common.secagg.graph import Neighbourhood
from sealora_common.secagg.transcript import Shared, Transcript
from secagg_turned import go_on
from secagg_weakened import weaken

from secagg_attacker import Attacker, plan_draws
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(9, small_graph=Neighbourhood(4, 3))
VICTIM, CHOSEN = 0, (1, 2, 3, 4)
OTHERS = (1, 2, 3, 4, 5, 6, 7, 8)
DRAWS = {VICTIM: CHOSEN} | {index: tuple(sorted(1 + (index + step) % 8 for step in range(4))) for index in OTHERS}
"""Nobody draws the victim; the others draw the four that follow them in a circle."""


def without(request: bytes, sender: int, said_to_have_drawn: tuple[int, ...] | None = None) -> bytes:
    """What a site is told, less one envelope, and perhaps with another draw of its sender."""
    told = CheckRequest.from_bytes(request)
    table = dict(told.table)
    if said_to_have_drawn is not None:
        table[sender] = Shared(table[sender].statement, said_to_have_drawn)
    return CheckRequest(table, {site: sent for site, sent in told.sent.items() if site != sender}).to_bytes()


def withhold(stage: str, index: int, request: bytes) -> bytes:
    """Nobody gets what the victim sent, and each site is told that the victim drew others."""
    if stage != "check" or index == VICTIM:
        return request
    return without(request, VICTIM, (5, 6, 7, 8) if index in CHOSEN else CHOSEN)


def read_all_but_the_victim(
    monkeypatch: pytest.MonkeyPatch, hook: Callable[[str, int, bytes], bytes]
) -> tuple[Run, RingVector | None]:
    plan_draws(monkeypatch, 9, DRAWS)
    run = Run(FEDERATION, on_request=hook)
    run.step("advertise")
    go_on(run, "open")
    attacker = Attacker.watching(run)
    for index, request in run.close("open").items():
        attacker.hears_opening(run.answer("open", index, request))
    assert VICTIM in run.server.survivors
    masked = {index: run.answers["mask"][index] for index in OTHERS}
    return run, attacker.reads(masked, {index: attacker.neighbours(index, OTHERS) for index in OTHERS})


def test_the_sum_of_some_survivors_is_read_where_draws_are_not_agreed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(
        monkeypatch,
        Transcript,
        "shared_digest",
        ("table_bytes(self.shared)", 'b"".join(one.statement for _, one in sorted(self.shared.items()))'),
    )
    run, read = read_all_but_the_victim(monkeypatch, withhold)
    assert read is not None
    assert same(read, run.expected(OTHERS))


def test_sites_that_are_told_other_draws_go_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_draws(monkeypatch, 9, DRAWS)
    run = Run(FEDERATION, on_request=withhold).until("check")
    requests = run.close("check")
    checks = [run.answer("check", index, withhold("check", index, requests[index])) for index in range(9)]
    for asked in range(9):
        with pytest.raises(ProtocolError, match="two different sets of keys or shares"):
            run.sites[asked].mask(MaskRequest(checks, []).to_bytes(), run.vector(asked))


def test_no_sum_is_opened_from_which_an_envelope_was_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProtocolError, match="checked other keys or shares"):
        read_all_but_the_victim(monkeypatch, withhold)


def test_a_withheld_envelope_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_draws(monkeypatch, 9, DRAWS)
    run = Run(FEDERATION).until("check")
    requests = run.close("check")
    for index in CHOSEN:
        with pytest.raises(ProtocolError, match="was withheld"):
            run.answer("check", index, without(requests[index], VICTIM))


def test_a_site_does_not_mask_with_one_whose_envelope_it_never_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it took no notice of what was withheld when it checked."""
    plan_draws(monkeypatch, 9, DRAWS)
    run = Run(FEDERATION).until("mask")
    del run.sites[1]._state.held[VICTIM]
    with pytest.raises(ProtocolError, match="whose shares this one cannot use"):
        run.answer("mask", 1, run.close("mask")[1])
