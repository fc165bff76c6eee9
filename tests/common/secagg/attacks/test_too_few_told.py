"""Too few sites: the server goes on with fewer than the site's own terms ask for, and says so openly.

The rule: a site counts for itself at every stage. The floor here is all four sites, so that no other rule, such as the
count of a secret's holders, refuses in its place.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector, Segment, TooFewSitesError
from sealora_common.secagg.bodies import MaskRequest
from sealora_common.secagg.messages import bundle
from sealora_common.secagg.site_review import Review
from secagg_weakened import weaken

from secagg_attacker import Attacker, Relay, statement_of
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(4, min_survivors=4)
LEFT = (0, 1, 2)
DID = {
    "share": "advertised keys",
    "check": "shared their keys",
    "mask": "checked their shares",
    "confirm": "survived",
    "open": "confirmed the survivors",
}


def tell_of_three(run: Run, stage: str, index: int) -> bytes:
    """The answer of a site that is told of three sites only."""
    if stage == "share":
        return run.answer(stage, index, bundle([run.answers["advertise"][each] for each in LEFT]))
    if stage == "check":
        relay = Relay(run.sites, run.answers["advertise"], {each: run.answers["share"][each] for each in LEFT})
        return run.answer(stage, index, relay.check_request(index).to_bytes())
    if stage == "mask":
        return run.answer(stage, index, MaskRequest([run.answers["check"][each] for each in LEFT], []).to_bytes())
    before = {"confirm": "mask", "open": "confirm"}[stage]
    messages = [run.answers[before][each] for each in LEFT]
    return run.answer(
        stage, index, bundle([statement_of(each) for each in messages] if stage == "confirm" else messages)
    )


@pytest.mark.parametrize("stage", DID)
def test_a_site_that_is_told_of_too_few_goes_no_further(stage: str) -> None:
    run = Run(FEDERATION).until(stage)
    with pytest.raises(TooFewSitesError, match=f"only 3 of 4 sites {DID[stage]}"):
        tell_of_three(run, stage, 0)


def test_a_sum_of_three_is_read_where_sites_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, Review, "require", ("if count < self._terms.needed:", "if False:"))
    run = Run(FEDERATION).until("confirm")
    attacker = Attacker.watching(run)
    run.answers["confirm"] = {index: tell_of_three(run, "confirm", index) for index in LEFT}
    for index in LEFT:
        attacker.hears_opening(tell_of_three(run, "open", index))
    masked = {index: run.answers["mask"][index] for index in LEFT}
    read = attacker.reads(masked, {index: attacker.neighbours(index, range(4)) for index in LEFT})
    assert read is not None
    assert same(read, run.expected(LEFT))


def test_a_check_that_is_told_twice_counts_once() -> None:
    run = Run(FEDERATION).until("mask")
    checks = [run.answers["check"][index] for index in range(4)]
    with pytest.raises(ProtocolError, match="not those that checked"):
        run.answer("mask", 0, MaskRequest([*checks[:3], checks[2]], []).to_bytes())


def test_a_site_that_is_not_among_those_that_go_on_does_not_mask() -> None:
    run = Run(Federation.of(4)).until("mask")
    others = [run.answers["check"][index] for index in (1, 2, 3)]
    with pytest.raises(ProtocolError, match="not those that checked"):
        run.answer("mask", 0, MaskRequest(others, []).to_bytes())


def test_a_vector_of_another_shape_is_not_masked() -> None:
    run = Run(FEDERATION).until("mask")
    request = run.close("mask")[0]
    with pytest.raises(ValueError, match="Expected a vector of"):
        run.sites[0].mask(request, RingVector.zeros((Segment(5, 16), Segment(2, 31))))
