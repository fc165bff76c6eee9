"""The ledger holds the charge for an evaluation before a held-out record is looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sealora_client.evaluation.heldout_loss import HeldoutLossMetric
from sealora_client.round.history import Told
from sealora_client.round.participation import Participation
from sealora_common.errors import ModelError

from site_bench import Bench
from tiny_federation import PRIVATE


def test_an_evaluation_is_paid_for_before_there_is_a_loss(
    tiny_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, tiny_base(), rounds=2, privacy=PRIVATE)
    seen: list[list[tuple[str, int]]] = []

    def measured(*arguments: object) -> None:
        with bench.site.ledger() as ledger:
            seen.append([(row.dataset, row.round_number) for row in ledger.charges()])
        raise ModelError("stop here")

    monkeypatch.setattr(HeldoutLossMetric, "measure", measured)
    with pytest.raises(ModelError):
        Participation.begin(bench.site, bench.order(), bench.adapter, Told())
    assert seen == [[(bench.site.data.heldout_set.fingerprint, 1)]]
