from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealora_common.errors import StorageError
from sealora_common.records.event_log import EventLog, EventTail, read_events
from sealora_common.records.events import RoundFinished, RunInterrupted, SitesReady, Stage, TooFewSites, TurnedAway


def test_an_event_reads_back_as_it_was_written(tmp_path: Path) -> None:
    event = RoundFinished(round=2, survivors=("a", "b"), heldout_loss=3.25, seconds=94.0, adapter_sha256="ab" * 32)
    EventLog(tmp_path / "events.jsonl", clock=lambda: 12.5).write(event)

    (recorded,) = read_events(tmp_path / "events.jsonl")

    assert recorded.event == event
    assert recorded.time == 12.5


def test_who_takes_no_part_reads_back_and_a_log_of_before_that_was_told_still_does(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    away = (TurnedAway(site="c", node=2**63 + 1, reason="no budget"), TurnedAway(site=None, node=4, reason="no answer"))
    for kind in (SitesReady, TooFewSites):
        EventLog(path).write(kind(sites=("a", "b"), needed=3, turned_away=away, missing=("d",)))
    with path.open("a") as file:
        file.write('{"time": 1, "event": "sites_ready", "sites": ["a"]}\n')

    first, second, old = (recorded.event for recorded in read_events(path))
    assert first == SitesReady(sites=("a", "b"), needed=3, turned_away=away, missing=("d",))
    assert second == TooFewSites(sites=("a", "b"), needed=3, turned_away=away, missing=("d",))
    assert old == SitesReady(sites=("a",), needed=None, turned_away=(), missing=())


def test_a_line_is_one_json_object_with_time_and_event(tmp_path: Path) -> None:
    EventLog(tmp_path / "events.jsonl").write(Stage(round=1, stage="train", sites=3))

    (line,) = (tmp_path / "events.jsonl").read_text().splitlines()

    fields = json.loads(line)
    assert fields.pop("time") > 1e9
    assert fields == {"event": "stage", "round": 1, "stage": "train", "sites": 3}


def test_a_loss_that_is_not_a_number_is_written_as_null(tmp_path: Path) -> None:
    event = RoundFinished(round=1, survivors=(), heldout_loss=float("nan"), seconds=1.0, adapter_sha256="")
    EventLog(tmp_path / "events.jsonl").write(event)

    assert json.loads((tmp_path / "events.jsonl").read_text(), parse_constant=pytest.fail)["heldout_loss"] is None


def test_the_tail_hands_out_each_event_once_and_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = EventTail(path)
    assert tail.read() == []

    EventLog(path, clock=lambda: 1.0).write(Stage(round=1, stage="mask", sites=3))
    whole = path.read_text()
    with path.open("a") as file:
        file.write(whole[:20])
    assert [recorded.event for recorded in tail.read()] == [Stage(round=1, stage="mask", sites=3)]
    assert tail.read() == []

    with path.open("a") as file:
        file.write(whole[20:])
    assert len(tail.read()) == 1


def test_a_line_cut_by_a_crash_takes_no_later_event_with_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"time": 1, "event": "stage", "rou')

    EventLog(path).write(RunInterrupted(round=3))

    assert [recorded.event for recorded in read_events(path)] == [RunInterrupted(round=3)]


@pytest.mark.parametrize(
    "line",
    ['{"time":1,"event":"from_a_newer_version"}', "[]", "null", '{"event":"run_interrupted","round":1}', "\xff"],
)
def test_a_line_it_does_not_understand_is_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line.encode("latin-1") + b"\n")

    assert read_events(path) == []


def test_a_log_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot write"):
        EventLog(tmp_path / "file" / "events.jsonl").write(RunInterrupted(round=1))
