"""A round counts as sent when its charges are spent on the disk, and not before: what never left is not in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sealora_client.ledger import Ledger
from sealora_common.errors import StorageError

from site_bench import Bench, payload_of, refusal_of
from tiny_federation import PRIVATE


def marks(bench: Bench) -> list[str]:
    return [path.name for path in (bench.directory() / "outbox").iterdir() if path.suffix == ".sent"]


def test_a_vector_whose_release_was_not_written_down_is_not_marked_sent(
    tiny_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, tiny_base(), rounds=2, privacy=PRIVATE)
    _, requests = bench.play(bench.order(), until="mask")

    def full(*arguments: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "release", full)
        refusal_of(bench.stage("site-0", "mask", requests["site-0"]))
    assert marks(bench) == []
    _, requests = bench.play(bench.order(attempt=2), until="mask")
    assert payload_of(bench.stage("site-0", "mask", requests["site-0"]))
    assert len(marks(bench)) == 1
