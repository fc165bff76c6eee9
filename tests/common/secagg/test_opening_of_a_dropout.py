"""Who sent no vector opens nothing, though it holds true shares: it is told nothing of the survivors to open for."""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError
from sealora_common.secagg.bodies import Opening, ShareKind
from sealora_common.secagg.messages import Kind

from secagg_misbehaviour import signed
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(5)
DROPPED = 4


def test_an_opening_of_a_site_that_sent_no_vector_is_refused_and_does_not_count() -> None:
    run = Run(FEDERATION).until("open", {DROPPED: "mask"})
    requests = run.close("open")
    assert DROPPED not in requests
    held = run.sites[DROPPED]._state.held
    opened = {owner: (ShareKind.SELF_MASK, given.self_mask) for owner, given in held.items()}
    true_opening = Opening(run.sites[0].transcript, run.sites[DROPPED]._state.self_mask_seed, opened)
    with pytest.raises(ProtocolError, match="a site opened other shares than it was asked for"):
        run.deliver("open", signed(FEDERATION, DROPPED, Kind.OPEN, true_opening.to_bytes()))
    for site, request in requests.items():
        run.deliver("open", run.answer("open", site, request))
    assert same(run.server.open().vector, run.expected(requests))
