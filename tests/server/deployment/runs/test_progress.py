"""Where a run is, and its metrics, read from its events."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sealora_common.records.event_log import EventLog
from sealora_common.records.events import (
    RoundAborted,
    RoundFinished,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunStarted,
    SiteFailed,
    SiteReplied,
    SitesReady,
    Stage,
    TooFewSites,
    TurnedAway,
)
from sealora_common.records.fold import StateTail
from sealora_common.records.run_state import RunState
from sealora_server.deployment.metrics import ServerCollector
from sealora_server.deployment.operator.messages import ProcessStatus
from sealora_server.deployment.runs.progress import progress_text

SITES = ("a", "b", "c", "d")


def started(first_round: int = 1) -> RunStarted:
    return RunStarted(
        name="n", run_id="r", rounds=3, recipe_hash="h", epsilon=None, delta=None, mechanism="none",
        first_round=first_round,
    )  # fmt: skip


def replied(stage: str, site: str, number: int = 1, up: int = 10, down: int = 100) -> SiteReplied:
    return SiteReplied(round=number, stage=stage, site=site, bytes_up=up, bytes_down=down)


def finished(number: int, survivors=("a", "b", "c")) -> RoundFinished:
    return RoundFinished(round=number, survivors=survivors, heldout_loss=1.0, seconds=7.0, adapter_sha256="x")


@pytest.fixture
def log(tmp_path):
    """A log whose every event comes a second after the last."""
    ticks = iter(range(10_000))
    return EventLog(tmp_path / "events.jsonl", clock=lambda: float(next(ticks)))


@pytest.fixture
def after(log):
    tail = StateTail(log.path, RunState(roster=SITES))

    def take(*events) -> RunState:
        for event in events:
            log.write(event)
        return tail.read()

    return take


def test_before_its_sites_are_there_it_waits_for_them(after):
    assert progress_text(after(started())) == "waits for its sites"


def test_in_a_first_stage_it_waits_for_every_site_that_has_neither_answered_nor_failed(after):
    state = after(started(), SitesReady(sites=SITES), Stage(round=1, stage="train", sites=4), replied("train", "a"))
    assert progress_text(state) == "round 1 of 3, stage train: 1 of 4 sites have answered"
    assert state.waiting_for == ("b", "c", "d")
    failed = SiteFailed(round=1, stage="train", site="d", reason="r")
    assert after(failed).waiting_for == ("b", "c")


def test_a_site_that_takes_no_part_is_not_waited_for(after):
    away = TurnedAway(site="d", node=4, reason="no budget")
    state = after(started(), SitesReady(sites=("a", "b", "c"), turned_away=(away,)))
    assert state.turned_away == (away,)
    assert after(Stage(round=1, stage="train", sites=3)).waiting_for == ("a", "b", "c")
    assert after(SitesReady(sites=SITES)).turned_away == ()
    assert after(TooFewSites(sites=("a",), turned_away=(away,))).turned_away == (away,)
    assert after(started(first_round=2)).turned_away == ()


def test_in_a_later_stage_it_waits_for_those_that_answered_the_last(after):
    events = [Stage(round=1, stage="train", sites=4), *(replied("train", site) for site in "abc")]
    state = after(started(), *events, Stage(round=1, stage="share", sites=3), replied("share", "a"))
    assert state.waiting_for == ("b", "c")
    assert progress_text(state) == "round 1 of 3, stage share: 1 of 3 sites have answered"


def test_an_aborted_round_begins_anew_with_every_site(after):
    events = [Stage(round=1, stage="train", sites=4), *(replied("train", site) for site in "abc")]
    state = after(started(), *events, RoundAborted(round=1, attempt=1, reason="too few"))
    assert (len(state.aborted), state.waiting_for, progress_text(state)) == (1, (), "waits for its sites")
    assert after(Stage(round=1, stage="train", sites=4)).waiting_for == SITES


def test_between_rounds_and_at_the_end_it_says_so(after):
    assert progress_text(after(started(), finished(1))) == "between rounds, 1 finished"
    state = after(Stage(round=4, stage="evaluate", sites=3))
    assert progress_text(state) == "the final evaluation, stage evaluate: 0 of 3 sites have answered"
    state = after(RunFinished(seconds=1, heldout_loss_before=1, heldout_loss_after=1, adapter_sha256="x"))
    assert (progress_text(state), state.is_complete) == ("all 3 rounds are finished", True)


def test_a_resumed_run_forgets_the_stage_it_was_in_and_why_it_failed(after):
    state = after(started(), Stage(round=1, stage="train", sites=4), RunFailed(reason="the disk is full"))
    assert (state.failure, state.waiting_for) == ("the disk is full", ())
    state = after(started(first_round=2))
    assert (state.failure, state.rounds_finished) == ("", 1)
    assert after(Stage(round=2, stage="train", sites=4), RunInterrupted(round=2)).waiting_for == ()


class Server:
    """What the metrics are read from."""

    certificate_expiry = 1234.0

    def __init__(self, state: RunState) -> None:
        self.run_states = {"r1": ("running", state)}
        self.processes = (
            ProcessStatus(name="superlink", pid=5, restarts=2, seconds=1),
            ProcessStatus(name="front", pid=None, restarts=0, seconds=0),
        )


def metrics(state: RunState) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(ServerCollector(Server(state)))
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_the_metrics_tell_rounds_times_survivors_and_bytes(after):
    stages = [Stage(round=1, stage="train", sites=2), replied("train", "a"), replied("train", "b", up=20)]
    stages += [Stage(round=1, stage="share", sites=2), SiteFailed(round=1, stage="share", site="b", reason="r")]
    found = metrics(after(started(), *stages, finished(1)))  # one event a second
    assert found["sealora_server_process_up", "superlink"] == 1
    assert found["sealora_server_process_up", "front"] == 0
    assert found["sealora_server_process_restarts_total", "superlink"] == 2
    assert found["sealora_server_certificate_expiry_seconds",] == 1234
    assert found["sealora_server_run_running", "r1"] == 1
    assert found["sealora_server_rounds_finished_total", "r1"] == 1
    assert found["sealora_server_survivors", "r1"] == 3
    assert found["sealora_server_round_seconds_sum", "r1"] == 7
    assert found["sealora_server_stage_seconds_sum", "r1", "train"] == 3
    assert found["sealora_server_stage_seconds_sum", "r1", "share"] == 2
    assert found["sealora_server_answer_seconds_sum", "r1", "a", "train"] == 1
    assert found["sealora_server_answer_seconds_sum", "r1", "b", "train"] == 2
    assert found["sealora_server_site_failures_total", "r1", "b", "share"] == 1
    assert found["sealora_server_site_bytes_total", "up", "r1", "b"] == 20
    assert found["sealora_server_site_bytes_total", "down", "r1", "a"] == 100


def test_the_metrics_of_a_site_are_its_name_sizes_times_and_failures_and_nothing_else(after):
    stages = [Stage(round=1, stage="train", sites=2), replied("train", "a")]
    found = metrics(after(started(), *stages, finished(1)))
    assert {name for name, *labels in found if "a" in labels} == {
        "sealora_server_answer_seconds_count",
        "sealora_server_answer_seconds_sum",
        "sealora_server_site_bytes_total",
    }
    assert not any("loss" in name or "epsilon" in name for name, *_ in found)
