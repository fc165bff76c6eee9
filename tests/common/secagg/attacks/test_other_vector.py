"""A survivor's other vector: a site that was rolled back has signed two, and the server sums the older one.

The rule: a site confirms the survivors only if the statement shown for itself is over the vector it sent.
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import OpenedSum, ProtocolError, SiteSession
from secagg_weakened import weakened

from secagg_runs import Federation, Run, clone_site, same, sum_of, vector_of

FEDERATION = Federation.of(4)
VICTIM = 0
OTHER = vector_of(FEDERATION.terms.segments, 99)


def sum_another_vector(site_class: type[SiteSession]) -> tuple[Run, OpenedSum]:
    run = Run(FEDERATION, site_class=site_class).until("mask")
    rolled_back = clone_site(run.sites[VICTIM])

    def answer_with_the_older(stage: str, index: int, message: bytes) -> bytes:
        if (stage, index) != ("mask", VICTIM):
            return message
        return rolled_back.mask(run.requests["mask"][VICTIM], vector_of(FEDERATION.terms.segments, 99))

    run.on_answer = answer_with_the_older
    for stage in ("mask", "confirm", "open"):
        run.step(stage)
    return run, run.server.open()


def test_the_sum_holds_what_a_careless_site_did_not_send() -> None:
    careless = weakened(
        SiteSession,
        confirm=("if survivors.get(self._index) != state.masked:", "if self._index not in survivors:"),
    )
    run, opened = sum_another_vector(careless)
    assert same(opened.vector, sum_of([OTHER, *(run.vector(index) for index in (1, 2, 3))]))


def test_a_vector_that_a_site_did_not_send_is_refused() -> None:
    with pytest.raises(ProtocolError, match="this site's vector is not among the survivors"):
        sum_another_vector(SiteSession)


def test_a_site_that_is_left_out_opens_nothing() -> None:
    run = Run(FEDERATION).until("confirm", {VICTIM: "mask"})
    site = Run(FEDERATION).until("confirm").sites[VICTIM]
    with pytest.raises(ProtocolError):
        site.confirm(run.close("confirm")[1])
