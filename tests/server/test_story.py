"""A run's story: told of its events alone, the same while it goes and afterwards."""

from __future__ import annotations

import logging
import re

import pytest

from sealora_client.round.course import run_text
from sealora_common.records.event_log import EventLog, Recorded
from sealora_common.records.events import (
    OperatorActed,
    ProcessEnded,
    RoundAborted,
    RunFailed,
    RunInterrupted,
    RunStarted,
    SiteFailed,
    SiteReplied,
    SitesReady,
    Stage,
    TooFewSites,
    TurnedAway,
)
from sealora_common.records.fold import StateTail, fold, steps
from sealora_common.records.run_state import RunState
from sealora_server.view.story import story, told_lines

from run_fixture import SITES, write_run


def told(*events, roster=("a", "b", "c")):
    entries = [Recorded(1000.0 + 2 * number, event) for number, event in enumerate(events)]
    return list(story(steps(RunState(roster=roster), entries)))


def started(**values) -> RunStarted:
    given = {"name": "r", "run_id": "1", "rounds": 2, "recipe_hash": "0", "epsilon": 8.0, "delta": 1e-5}
    return RunStarted(**{**given, "mechanism": "local", **values})


def replied(site, stage="train", number=1):
    return SiteReplied(round=number, stage=stage, site=site, bytes_up=1000, bytes_down=2_000_000)


def test_a_whole_run_is_told_from_its_beginning_to_its_end(tmp_path):
    lines = [line.text for line in told_lines(write_run(tmp_path, with_trouble=True))]
    assert lines[0].startswith("demo-icd10: 4 rounds, epsilon <= 8, delta <= 1e-5 at every site")
    assert lines[1] == f"taking part (3 sites, 3 needed): {', '.join(SITES)}"
    assert "round 2/4: lost oncology-institute (train): no answer within 3600 seconds" in lines
    assert any(line.startswith("round 2/4: attempt 1 given up, nothing was unmasked") for line in lines)
    (again,) = [line for line in lines if line.startswith("round 2/4: sealed sum")]
    assert ", after 1 attempt that failed, " in again
    assert again.endswith(f"; in it: {', '.join(SITES)}")
    assert "noisy held-out loss at its start" in again
    assert lines[-1].startswith("finished in ")


def test_each_round_says_who_trained_and_how_long_the_quickest_first():
    lines = told(
        started(),
        Stage(round=1, stage="train", sites=3),
        replied("b"),
        replied("a"),
        SiteFailed(round=1, stage="train", site="c", reason="no answer within 40 s"),
        Stage(round=1, stage="share", sites=2),
    )
    assert lines[-1].text == "round 1/2: trained: b in 2 s, a in 4 s"
    assert (lines[-2].level, lines[-2].round, lines[-2].reason) == (logging.WARNING, 1, "no answer within 40 s")


def test_who_is_waited_for_in_vain_is_named_when_the_stage_is_left():
    lines = told(
        started(), Stage(round=1, stage="train", sites=3), replied("b"), RoundAborted(round=1, attempt=1, reason="few")
    )
    assert [line.text for line in lines[-2:]] == [
        "round 1/2: trained: b in 2 s; no answer of a, c",
        "round 1/2: attempt 1 given up, nothing was unmasked: few",
    ]


def test_of_many_sites_the_quickest_and_the_slowest_are_named():
    names = tuple(f"s{number:02d}" for number in range(40))
    lines = told(
        started(),
        Stage(round=1, stage="train", sites=40),
        *map(replied, names),
        Stage(round=1, stage="share", sites=40),
        roster=names,
    )
    assert re.search(r"s00 in 2 s, .*s09 in 20 s, 29 others, s39 in 1 min 20 s$", lines[-1].text)


def test_what_persons_and_processes_did_is_part_of_the_story_and_no_part_of_the_run_s_time():
    events = (
        OperatorActed(action="submit", account="ada"),
        started(),
        ProcessEnded(reason="its process ended with status -9"),
        RunInterrupted(round=1),
        OperatorActed(action="stop", account="ada"),
        OperatorActed(action="resume", account="b\x1b[2Job"),
        started(first_round=1),
        OperatorActed(action="use_roster", account="ada"),
        RunFailed(reason="too few"),
    )
    lines = told(*events)
    assert [line.text for line in lines if "by" in line.text.split()] == [
        "submitted by ada",
        "stopped by ada",
        "told to go on by b [2Job",
        "given a new roster by ada",
    ]
    assert "its process ended with status -9; it goes on in a new one" in [line.text for line in lines]
    assert (lines[-1].level, lines[-1].text) == (logging.ERROR, "run failed: too few")
    state = fold(RunState(), [Recorded(1000.0 + 2 * number, event) for number, event in enumerate(events)])
    assert (state.first_at, state.seconds) == (1002.0, 2 + 2 + 4)


@pytest.mark.parametrize(("kind", "first"), [(SitesReady, "taking part"), (TooFewSites, "too few sites to begin")])
def test_who_takes_no_part_has_a_line_of_its_own_and_it_is_a_warning(kind, first):
    away = (TurnedAway(site="b", node=2, reason="no budget"), TurnedAway(site=None, node=3, reason="x\ny"))
    lines = told(started(), kind(sites=("a",), needed=2, turned_away=away, missing=("c",)))[1:]
    assert [line.text for line in lines] == [
        f"{first} (1 site, 2 needed): a",
        "b takes no part: no budget",
        "node 3 takes no part: x y",
        "not connected: c",
    ]
    assert {line.level for line in lines} == {logging.WARNING}


def test_the_noise_of_the_held_out_figure_stands_beside_it():
    line = told(started(heldout_noise=24.31))[0].text
    assert line.endswith(
        "; noise on a site's held-out loss: standard deviation 24.3 nats a token, divided by its held-out records"
    )
    assert "standard deviation" not in told(started())[0].text


def test_a_run_is_named_as_the_sites_logs_name_it():
    run_id = "0123456789abcdef" * 2
    (line,) = told(started(run_id=run_id))
    assert line.text.endswith("; the sites' logs name it 0123456789ab")
    assert run_text(run_id, "r") == "run 0123456789ab (r)"


def test_every_line_has_its_time_with_its_zone(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert str(told(RunFailed(reason="x"))[0]) == "1970-01-01 05:46:40+05:30 ERROR   run failed: x"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_told_step_by_step_is_what_is_told_at_once(tmp_path):
    """However the events come: one look after each of them, or one after all."""
    whole = write_run(tmp_path / "whole", with_trouble=True) / "events.jsonl"
    growing = tmp_path / "growing" / "events.jsonl"
    growing.parent.mkdir()
    tail, lines = StateTail(growing, RunState(roster=SITES)), []
    with growing.open("a") as file:
        for line in whole.read_text().splitlines(keepends=True):
            file.write(line)
            file.flush()
            lines += story(tail.steps())
    assert lines == list(story(StateTail(whole, RunState(roster=SITES)).steps()))
    assert tail.state == StateTail(whole, RunState(roster=SITES)).read()


def test_a_run_is_followed_until_it_is_finished(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.write(OperatorActed(action="submit", account="ada"))
    waits = []

    def wait():
        waits.append(None)
        if len(waits) == 3:
            write_run(tmp_path)

    lines = [line.text for line in told_lines(tmp_path, follow=True, wait=wait)]
    assert (lines[0], len(waits)) == ("submitted by ada", 3)
    assert lines[-1].startswith("finished in ")
