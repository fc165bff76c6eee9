"""Opening before confirming: the server skips the stage in which sites sign the set of survivors.

The rule: a session answers the stages in order. A site that skips goes by the server's word alone, and the server
can tell any two sites two different sets (see also `test_split_survivors`).
"""

from __future__ import annotations

import pytest

from sealora_common.secagg import ProtocolError, RingVector, SiteSession
from sealora_common.secagg.bodies import Survivors
from sealora_common.secagg.messages import Kind, bundle
from sealora_common.secagg.site_state import SiteStage

from secagg_attacker import Attacker
from secagg_runs import Federation, Run, same, sum_of

FEDERATION = Federation.of(7, min_survivors=3)
CORRUPTED = (5, 6)
TARGETS = (0, 1)
DROPS = {0: {2, 3}, 1: {3, 4}, 2: {3, 4}, 3: {2, 4}, 4: {2, 3}}


class Eager(SiteSession):
    """A site that opens for the survivors it is told when it is asked, confirmed or not."""

    def open(self, confirmations: bytes) -> bytes:
        state = self._state
        if state.stage is SiteStage.MASKED:
            state.stage = SiteStage.CONFIRMED
            state.survivors = Survivors.from_bytes(confirmations).indices
            everyone = [Attacker(FEDERATION).signs(index, Kind.CONFIRM, confirmations) for index in state.survivors]
            confirmations = bundle(everyone)
        return super().open(confirmations)


def skip_confirm(site_class: type[SiteSession]) -> tuple[Run, RingVector | None]:
    run = Run(FEDERATION, site_class=site_class).until("confirm")
    attacker = Attacker.watching(run, CORRUPTED)
    transcript = run.sites[0]._state.transcript.digest
    for index, dropped in DROPS.items():
        told = Survivors(transcript, tuple(sorted(set(range(7)) - dropped)))
        attacker.hears_opening(run.sites[index].open(told.to_bytes()))
    masked = {index: run.answers["mask"][index] for index in TARGETS}
    return run, attacker.reads(masked, {index: set(range(7)) - {index} for index in TARGETS})


def test_a_sum_of_two_is_read_where_a_site_opens_before_it_confirmed() -> None:
    run, read = skip_confirm(Eager)
    assert read is not None
    assert same(read, sum_of([run.vector(index) for index in TARGETS]))


def test_opening_before_confirming_is_refused() -> None:
    with pytest.raises(ProtocolError, match="in order"):
        skip_confirm(SiteSession)
