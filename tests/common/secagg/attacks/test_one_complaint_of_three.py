"""Of three sites none is taken to be corrupted, and still one site's word alone puts no other one out of the round."""

from __future__ import annotations

from sealora_common.secagg import FaultKind
from secagg_turned import complaining, go_on, turn

from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(3)
VICTIM, LIAR = 0, 2


def test_who_is_complained_of_by_one_is_asked_and_goes_on() -> None:
    run = Run(FEDERATION)
    run.step("advertise")
    go_on(turn(run, {LIAR: complaining(VICTIM)}), "disclose")
    requests = run.close("disclose")
    assert set(requests) == {VICTIM}
    assert not run.server.faults
    run.answers["disclose"] = {VICTIM: run.answer("disclose", VICTIM, requests[VICTIM])}
    run.deliver("disclose", run.answers["disclose"][VICTIM])
    go_on(run, "open")
    run.step("open")
    opened = run.server.open()
    assert opened.survivors == (0, 1, 2)
    assert same(opened.vector, run.expected(opened.survivors))
    assert not run.server.faults


def test_two_complaints_of_three_sites_show_a_fault() -> None:
    run = Run(FEDERATION)
    run.step("advertise")
    go_on(turn(run, {1: complaining(VICTIM), LIAR: complaining(VICTIM)}), "disclose")
    assert run.close("disclose") == {}
    assert [(fault.site, fault.kind) for fault in run.server.faults] == [(VICTIM, FaultKind.COMPLAINTS)]
