"""False self-masks: a turned survivor opens another self-mask than it committed to.

The sum would open to noise, and nothing would say whose. The rule: the seed is held against the commitment; the
shares restore the true one, and the survivor is named, with evidence.
"""

from __future__ import annotations

import os

import pytest

from sealora_common.secagg import FaultKind, OpenedSum
from sealora_common.secagg.bodies import Opening
from sealora_common.secagg.messages import Kind
from sealora_common.secagg.unmasking import Unmasking
from secagg_weakened import weaken

from secagg_attacker import Attacker, body_of
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(7)
TURNED = (2, 5)


def open_false_self_masks(drops: dict[int, str]) -> tuple[Run, OpenedSum]:
    run = Run(FEDERATION)

    def on_answer(stage: str, index: int, message: bytes) -> bytes:
        if stage != "open" or index not in TURNED:
            return message
        opening = Opening.from_bytes(body_of(message, Kind.OPEN, FEDERATION))
        body = Opening(opening.transcript, os.urandom(32), opening.shares).to_bytes()
        return Attacker(FEDERATION).signs(index, Kind.OPEN, body)

    run.on_answer = on_answer
    return run, run.finish(drops)


def test_the_sum_is_noise_where_self_masks_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(
        monkeypatch,
        Unmasking,
        "_self_mask",
        ("if seed_fits(statement, survivor, opening.self_mask, self.terms.digest):", "if True:"),
    )
    run, opened = open_false_self_masks({})
    assert not same(opened.vector, run.expected(range(7)))
    assert not run.server.faults


@pytest.mark.parametrize("drops", [{}, {0: "mask"}, {0: "confirm"}])
def test_the_shares_restore_the_true_one_and_its_owner_is_named(drops: dict[int, str]) -> None:
    run, opened = open_false_self_masks(drops)
    assert same(opened.vector, run.expected(opened.survivors))
    assert [(fault.site, fault.kind) for fault in run.server.faults] == [(index, FaultKind.SEED) for index in TURNED]
    for fault in run.server.faults:
        fault.prove(FEDERATION.roster)
