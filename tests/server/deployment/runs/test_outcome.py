"""What a server's run leaves for people when it is over: a summary and a report, however it ended."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from sealora_common.records.event_log import EventLog
from sealora_common.records.events import RoundFinished, RunFailed, RunFinished, RunStarted, SitesReady
from sealora_server.deployment.operator.messages import Resume, Stop
from sealora_server.deployment.runs.serverapp_process import Outcome

from run_host import ADA

HOSTILE = "<script>alert(1)</script>"
SITES = ("site-0", "site-1", "site-2")


def write_events(bench, *, ends: RunFinished | RunFailed | None = None) -> None:
    log = EventLog(bench.server.runs / "r1" / "events.jsonl")
    log.write(
        RunStarted(
            name="r",
            run_id="ab" * 16,
            rounds=2,
            recipe_hash="cd" * 32,
            epsilon=8.0,
            delta=1e-4,
            mechanism="local",
            heldout_noise=40.0,
            heldout_noise_least=0.3,
        )
    )
    log.write(SitesReady(sites=SITES))
    log.write(RoundFinished(round=1, survivors=SITES, heldout_loss=3.5, seconds=1.0, adapter_sha256="12" * 32))
    if ends is not None:
        log.write(ends)


FINISHED = RunFinished(seconds=3.0, heldout_loss_before=3.5, heldout_loss_after=2.5, adapter_sha256="34" * 32)


def outcome(bench) -> tuple[dict[str, object], str]:
    directory = bench.server.runs / "r1"
    return json.loads((directory / "summary.json").read_text()), (directory / "report.html").read_text()


async def ended(bench, event: RunFinished | RunFailed, status: int):
    """A submitted run whose process wrote `event` and ended with `status`."""
    operations = bench.operations()
    await operations.handle(bench.submission(), ADA)
    process = await bench.process(1)
    write_events(bench, ends=event)
    process.end(status)
    await bench.until((bench.server.runs / "r1" / "report.html").exists)
    return operations


def test_a_finished_run_leaves_its_figures_and_their_noise_and_nothing_that_only_a_site_knows(bench):
    asyncio.run(ended(bench, FINISHED, Outcome.FINISHED))
    summary, page = outcome(bench)
    assert (summary["status"], summary["rounds_finished"], summary["adapter_sha256"]) == ("finished", 1, "34" * 32)
    assert summary["heldout_noise"] == pytest.approx(0.3 / 3**0.5)
    assert [site["name"] for site in summary["sites"]] == list(SITES)
    assert {value for site in summary["sites"] for name, value in site.items() if name != "name"} == {None}
    assert "each ± 0.18 of noise at least" in page
    assert "standard deviation of 0.18 nats a token" in page
    assert (bench.server.runs / "r1" / "report.html").stat().st_mode & 0o077 == 0


def test_a_failed_run_says_why_and_what_a_site_said_does_nothing_on_the_page(bench):
    asyncio.run(ended(bench, RunFailed(reason=f"round 2 failed because site-1 said {HOSTILE}"), Outcome.FAILED))
    summary, page = outcome(bench)
    assert summary["status"] == "failed"
    assert "This run failed." in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert HOSTILE not in page


def test_a_run_that_could_not_be_kept_running_leaves_a_report_too(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        write_events(bench)
        number = 0
        while bench.saved().condition == "running":
            number += 1
            (await bench.process(number)).end(-signal.SIGKILL)
            await asyncio.sleep(0.02)
        await bench.until((bench.server.runs / "r1" / "report.html").exists)
        await operations.pause_runs()

    asyncio.run(run())
    assert outcome(bench)[0]["status"] == "failed"


def test_a_stopped_run_leaves_one_that_goes_when_it_is_resumed(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        await bench.process(1)
        write_events(bench)
        await operations.handle(Stop(run="r1"), ADA)
        assert outcome(bench)[0]["rounds_finished"] == 1
        await operations.handle(Resume(run="r1"), ADA)
        assert not (bench.server.runs / "r1" / "summary.json").exists()
        assert not (bench.server.runs / "r1" / "report.html").exists()
        await operations.pause_runs()

    asyncio.run(run())


def test_a_server_that_was_killed_before_it_wrote_them_does_so_at_its_next_start(bench):
    async def run() -> None:
        await ended(bench, FINISHED, Outcome.FINISHED)
        directory = bench.server.runs / "r1"
        (directory / "summary.json").unlink()
        again = bench.operations()
        again.start_runs()
        await bench.until((directory / "summary.json").exists)
        await again.pause_runs()
        assert len(bench.processes) == 1  # no process for that

    asyncio.run(run())


def test_a_run_that_never_began_ends_all_the_same(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        (await bench.process(1)).end(Outcome.FAILED)
        await bench.until(lambda: bench.saved().condition == "failed")
        await operations.pause_runs()
        assert not (bench.server.runs / "r1" / "report.html").exists()

    asyncio.run(run())
