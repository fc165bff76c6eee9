"""A run from its start to its end, over processes that die and servers that start again."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from sealora_common.records.events import RoundAborted, RunFailed, RunFinished, SiteFailed, SitesReady, TurnedAway
from sealora_common.roster import Roster
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import Resume, Stop
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.runs.serverapp_process import Outcome
from sealora_server.run.store import RunStore
from sealora_server.run.stored.records import RunResult

from run_host import ADA, RECIPE


def test_a_submitted_run_has_a_directory_registered_sites_and_a_process(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        directory = bench.server.runs / "r1"
        assert process.settings.run_directory == directory
        assert (process.settings.token, process.settings.supervisor) == ("token-1", os.getpid())
        assert bench.superlink.started == [{"run-directory": "r1"}]  # sites are told this: no path of the server's
        assert process.spec.directory == bench.server.runs
        assert sorted(bench.superlink.known.values()) == ["site-0", "site-1", "site-2"]
        assert RunStore.open(directory).recipe == RECIPE
        assert Roster.load(directory / "roster.json") == bench.federation.roster
        assert bench.saved().condition == "running"
        await operations.pause_runs()

    asyncio.run(run())


def test_every_run_of_a_server_signs_its_receipts_with_the_server_s_own_identity(bench):
    async def run() -> None:
        operations = bench.operations()
        for name in ("r1", "r2"):
            await operations.handle(bench.submission(name=name), ADA)
            store = RunStore.open(bench.server.runs / name)
            assert store.server_identity().public_key == bench.identity.public_key
            assert not (store.directory / "server.pem").exists()
        await operations.pause_runs()

    asyncio.run(run())


def test_who_takes_no_part_stands_in_the_status_while_the_run_goes_on_and_where_it_failed(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        away = TurnedAway(site="site-2", node=7, reason="no budget")
        events = RunStore.open(bench.server.runs / "r1").events
        events.write(SitesReady(sites=("site-0", "site-1"), turned_away=(away,)))
        assert operations.runs["r1"].status().turned_away == (away,)
        process.end(Outcome.FAILED)
        await bench.until(lambda: bench.saved().condition == "failed")
        assert operations.runs["r1"].status().turned_away == (away,)
        await operations.handle(Resume(run="r1"), ADA)
        (await bench.process(2)).end(Outcome.FINISHED)
        await bench.until(lambda: bench.saved().condition == "finished")
        assert operations.runs["r1"].status().turned_away == ()

    asyncio.run(run())


def test_a_finished_run_is_not_started_again(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        (await bench.process(1)).end(Outcome.FINISHED)
        await bench.until(lambda: bench.saved().condition == "finished")
        again = bench.operations()
        again.start_runs()
        await asyncio.sleep(0.05)
        with pytest.raises(DeploymentError, match="run 'r1' cannot be resumed: it is finished"):
            await again.handle(Resume(run="r1"), ADA)
        assert len(bench.processes) == 1

    asyncio.run(run())


@pytest.mark.parametrize("status", [-signal.SIGKILL, Outcome.CRASHED, Outcome.LOST])
def test_a_process_that_dies_is_followed_by_another_with_a_flower_run_of_its_own(bench, status):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        (await bench.process(1)).end(status)
        process = await bench.process(2)
        assert process.settings.token == "token-2"
        assert bench.superlink.ended == [1]
        assert bench.saved().condition == "running"
        await operations.pause_runs()

    asyncio.run(run())


def test_a_run_that_cannot_go_on_waits_for_its_operator_and_says_why(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        RunStore.open(bench.server.runs / "r1").events.write(RunFailed(reason="site-2 is missing"))
        process.end(Outcome.FAILED)
        await bench.until(lambda: bench.saved().condition == "failed")
        assert bench.saved().said == "site-2 is missing"
        assert operations.runs["r1"].status().said == "site-2 is missing"
        again = bench.operations()
        again.start_runs()
        await asyncio.sleep(0.05)
        assert len(bench.processes) == 1
        await again.handle(Resume(run="r1"), ADA)
        await bench.process(2)
        assert bench.saved().condition == "running"
        await again.pause_runs()

    asyncio.run(run())


def test_what_a_full_disk_kept_from_the_events_is_taken_from_what_the_process_said(bench, monkeypatch):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        operations.runs["r1"]._hear("ERROR   cannot write x: the disk is full: free some space")
        process.end(Outcome.FAILED)
        await bench.until(lambda: bench.saved().condition == "failed")
        assert "the disk is full" in bench.saved().said

    asyncio.run(run())


def test_a_run_whose_processes_keep_dying_is_given_up(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        for number in range(1, 6):
            (await bench.process(number)).end(-signal.SIGSEGV)
        await bench.until(lambda: bench.saved().condition == "failed")
        said = "it could not be kept running (its process ended with status -11): mend that, then resume it"
        assert bench.saved().said == said
        await asyncio.sleep(0.05)
        assert len(bench.processes) == 5

    asyncio.run(run())


def test_a_superlink_that_refuses_for_a_while_is_asked_again(bench):
    async def run() -> None:
        bench.superlink.refusals = 2
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        assert (await bench.process(1)).settings.token == "token-1"
        await operations.pause_runs()

    asyncio.run(run())


def test_a_process_that_is_killed_after_the_last_event_leaves_a_finished_run(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        finished = RunFinished(seconds=1, heldout_loss_before=1, heldout_loss_after=1, adapter_sha256="x")
        RunStore.open(bench.server.runs / "r1").events.write(finished)
        process.end(-signal.SIGKILL)
        await bench.until(lambda: bench.saved().condition == "finished")
        assert len(bench.processes) == 1

    asyncio.run(run())


def test_a_process_that_is_killed_after_it_has_stored_its_end_leaves_a_finished_run(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        result = RunResult(adapter_sha256="x", heldout_loss_before=1.0, heldout_loss_after=1.0)
        RunStore.open(bench.server.runs / "r1").finish(result)
        process.end(-signal.SIGKILL)
        await bench.until(lambda: bench.saved().condition == "finished")
        assert len(bench.processes) == 1

    asyncio.run(run())


def test_a_stopped_run_stays_stopped_over_a_restart_until_it_is_resumed(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        await operations.handle(Stop(run="r1"), ADA)
        assert process.ended.result() == Outcome.STOPPED
        with pytest.raises(DeploymentError, match="run 'r1' does not run: it is stopped"):
            await operations.handle(Stop(run="r1"), ADA)
        again = bench.operations()
        again.start_runs()
        await asyncio.sleep(0.05)
        assert len(bench.processes) == 1
        await again.handle(Resume(run="r1"), ADA)
        await bench.process(2)
        with pytest.raises(DeploymentError, match="cannot be resumed: it is running"):
            await again.handle(Resume(run="r1"), ADA)
        await again.pause_runs()

    asyncio.run(run())


def test_a_server_that_stops_and_starts_goes_on_with_its_runs(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        await operations.pause_runs()
        assert process.ended.done()
        assert bench.saved().condition == "running"
        again = bench.operations()
        again.start_runs()
        await bench.process(2)
        await again.pause_runs()

    asyncio.run(run())


def test_the_server_s_log_tells_the_run_s_story_from_its_submission_on_and_the_past_only_once(bench, caplog):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        events = RunStore.open(bench.server.runs / "r1").events
        events.write(SiteFailed(round=1, stage="mask", site="site-1", reason="no answer within 40 s"))
        operations.runs["r1"].look()
        events.write(RoundAborted(round=1, attempt=1, reason="2 of 3 sites are left"))
        process.end(1)
        await bench.process(2)
        await operations.handle(Stop(run="r1"), Person.of_account("bob"))
        again = bench.operations()
        again.runs["r1"].look()
        await again.handle(Resume(run="r1"), Person.of_account("eve"))
        (await bench.process(3)).end(Outcome.FAILED)
        await bench.until(lambda: again.runs["r1"].condition == "failed")

    with caplog.at_level("INFO"):
        asyncio.run(run())
    told = [record for record in caplog.records if record.getMessage().startswith("run r1: ")]
    assert [record.getMessage().removeprefix("run r1: ") for record in told] == [
        "submitted by ada",
        "round 1/3: lost site-1 (mask): no answer within 40 s",
        "round 1/3: attempt 1 given up, nothing was unmasked: 2 of 3 sites are left",
        "its process ended with status 1; it goes on in a new one",
        "stopped by bob",
        "told to go on by eve",
        "run failed: its process failed and said nothing of why",
    ]
    assert told[1].sealora_fields == {"run": "r1", "round": 1, "reason": "no answer within 40 s"}
    registered = [record.getMessage() for record in caplog.records if "was registered" in record.getMessage()]
    assert registered == [f"site site-{number} was registered and may connect" for number in range(3)]


def test_what_cannot_be_written_among_the_events_is_in_the_log_all_the_same(bench, caplog):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        process = await bench.process(1)
        log = bench.server.runs / "r1" / "events.jsonl"
        log.unlink()
        log.mkdir()
        operations.runs["r1"]._hear("the disk is full")
        process.end(Outcome.FAILED)
        await bench.until(lambda: operations.runs["r1"].condition == "failed")

    asyncio.run(run())
    assert any(record.getMessage().startswith("run r1: the disk is full (") for record in caplog.records)
    assert bench.saved().said == "the disk is full"
