from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealora_common.records.site_rounds import SiteHistory, SiteRound, SiteRoundsTail
from sealora_common.storage.durable import append_line

BEGUN = SiteRound(round=2, kind="train", records=24, heldout_records=6, truncated=0, delta=1e-5)
LIVED = (
    BEGUN.evaluated(2.5)
    .charged(1.25)
    .trained(moved=True, fraction_clipped=0.5, median_norm=1.5, clip_norm=1.0, examples_seen=7, non_finite=0)
    .timed(3.5)
    .sent(bytes_up=10, bytes_down=20)
)


def test_a_line_has_the_bytes_it_always_had() -> None:
    assert LIVED.to_line() == (
        '{"round": 2, "kind": "train", "records": 24, "heldout_records": 6, "truncated": 0, "delta": 1e-05, '
        '"heldout_loss": 2.5, "epsilon": 1.25, "moved": true, "fraction_clipped": 0.5, "median_norm": 1.5, '
        '"clip_norm": 1.0, "examples_seen": 7, "non_finite": 0, "seconds": 3.5, "bytes_up": 10, "bytes_down": 20}'
    )


def test_what_was_never_worked_out_is_left_out_and_what_is_no_number_is_null() -> None:
    line = json.loads(BEGUN.evaluated(float("nan")).charged(None).of_persons(3, 1).to_line())
    assert list(line) == [
        "round",
        "kind",
        "records",
        "heldout_records",
        "truncated",
        "delta",
        "persons",
        "heldout_persons",
        "heldout_loss",
        "epsilon",
    ]
    assert line["heldout_loss"] is None
    assert line["epsilon"] is None


def test_it_is_charged_once_it_is_known_what_the_run_has_spent_even_if_that_is_nothing() -> None:
    assert not BEGUN.is_charged
    assert BEGUN.charged(None).is_charged
    assert SiteRound.model_validate_json(BEGUN.charged(None).model_dump_json()).is_charged


def test_a_history_reads_back_as_it_was_written(tmp_path: Path) -> None:
    tail = SiteRoundsTail(tmp_path / "history.jsonl")
    assert tail.read() == []
    append_line(tmp_path / "history.jsonl", LIVED.to_line())
    assert tail.read() == [LIVED]
    assert tail.read() == []


@pytest.mark.parametrize(
    "line",
    [b"{", b"[1]", b'{"round": 1}', b'{"round": "1", "kind": "train"}', b'{"round": 1, "kind": "other"}', b"\xff"],
)
def test_a_line_that_is_no_round_is_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(line + b"\n" + LIVED.to_line().encode() + b"\n")
    assert SiteRoundsTail(path).read() == [LIVED]


def test_an_older_version_s_nan_and_a_newer_one_s_fields_are_read_past(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"round": 1, "kind": "train", "heldout_loss": NaN, "colour": {"a": 1}}\n')
    assert SiteRoundsTail(path).read() == [SiteRound(round=1, kind="train", heldout_loss=None)]


def test_the_newest_figure_that_is_not_missing_counts() -> None:
    history = SiteHistory("a", (BEGUN.charged(1.0), BEGUN.charged(2.0), BEGUN.charged(None)))
    assert history.latest(lambda line: line.epsilon) == 2.0
    assert history.latest(lambda line: line.seconds) is None
