"""A statement is its signer's: one that stands under another site's number speaks neither for that site nor against it.

A site that took it would complain of a member that sent what it should, and the server could show the complaints.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError
from sealora_common.secagg.bodies import CheckRequest
from sealora_common.secagg.graph import Neighbourhood

from secagg_runs import Federation, Run

FEDERATION = Federation.of(6, "curious", small_graph=Neighbourhood(3, 3))
"""Each site draws three of the five others: a statement names sites, and not all."""


def shared() -> tuple[Run, int, int, int, CheckRequest]:
    """A round before its checks: a site, one that drew it, one that this one did not draw, what the first is told."""
    while True:
        run = Run(FEDERATION).until("check")
        requests = run.close("check")
        for site, request in requests.items():
            told = CheckRequest.from_bytes(request)
            for drew_it in told.sent:
                for undrawn in set(told.table) - {site, drew_it} - set(told.table[drew_it].neighbours):
                    return run, site, drew_it, undrawn, told


def test_the_statement_of_one_site_is_not_taken_for_another_s() -> None:
    run, site, drew_it, undrawn, told = shared()
    table = dict(told.table) | {undrawn: told.table[drew_it]}
    sent = dict(told.sent) | {undrawn: told.sent[drew_it]}
    with pytest.raises(ProtocolError, match="a site's statement is not the one that the server told of"):
        run.answer("check", site, CheckRequest(table, sent).to_bytes())
    assert run.sites[site].complaints == ()
