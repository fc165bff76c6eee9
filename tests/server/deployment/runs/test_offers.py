"""A finished run's adapter is offered to who lacks it as they come, ever less often to who stays, and to no other."""

from __future__ import annotations

import asyncio

from sealora_common.canonical import canonical_json
from sealora_server.delivery.final_adapter import FinalAdapter
from sealora_server.deployment.runs.offers import Offers
from sealora_server.deployment.runs.serverapp_process import Outcome
from sealora_server.deployment.superlink.client import Node
from sealora_server.run.store import RunResult, RunStore

from pure_sites import LAYOUT
from run_host import ADA

ONLINE = {"site-0": "monday", "stranger": "monday"}


def at_work(operations) -> bool:
    return any(run.is_at_work for run in operations.runs.values())


def finish(bench, name: str = "r1") -> RunStore:
    """The run has ended; whatever else a delivery needs is not looked at here."""
    store = RunStore.open(bench.server.runs / name)
    (store.directory / "layout.json").write_bytes(canonical_json(LAYOUT.to_json()))
    store.finish(RunResult(adapter_sha256="0" * 64, heldout_loss_before=None, heldout_loss_after=1.0, kept_round=1))
    return store


async def finished(bench):
    operations = bench.operations()
    await operations.handle(bench.submission(), ADA)
    process = await bench.process(1)
    store = finish(bench)
    process.end(Outcome.FINISHED)
    await bench.until(lambda: bench.saved().condition == "finished" and not operations.runs["r1"].is_at_work)
    return operations, store


def test_it_is_offered_again_when_a_site_comes_and_ever_less_often_to_one_that_stays(bench):
    now = 0.0

    async def run() -> None:
        nonlocal now
        _, store = await finished(bench)
        offers = Offers(store.directory, lambda: now)
        assert not offers.is_due({"stranger": "monday"})
        assert offers.is_due(ONLINE)
        offers.made(ONLINE)
        assert not offers.is_due(ONLINE)
        assert offers.is_due({**ONLINE, "site-1": "monday"})
        now = 61.0
        assert offers.is_due(ONLINE)
        offers.made(ONLINE)
        now += 61.0
        assert not offers.is_due(ONLINE)
        now += 60.0
        assert offers.is_due(ONLINE)
        FinalAdapter(store).note_delivered("site-0")
        offers.made(ONLINE)
        now += 1e6
        assert not offers.is_due(ONLINE)

    asyncio.run(run())


def test_a_site_that_comes_again_and_again_has_it_offered_no_more_than_once_a_minute(bench):
    now = 0.0

    async def run() -> None:
        nonlocal now
        _, store = await finished(bench)
        offers = Offers(store.directory, lambda: now)
        offers.made(ONLINE)
        offered = 0
        for second in range(1, 601):
            now = float(second)
            online = {"site-0": f"second {second}"}
            if offers.is_due(online):
                offers.made(online)
                offered += 1
        assert offered == 10

    asyncio.run(run())


def test_of_runs_that_are_due_again_and_again_none_keeps_another_waiting(bench, monkeypatch):
    monkeypatch.setattr(Offers, "is_due", lambda offers, online: True)

    async def run() -> None:
        operations, _ = await finished(bench)
        await operations.handle(bench.submission(name="r2", roster=bench.elsewhere()), ADA)
        process = await bench.process(2)
        finish(bench, "r2")
        process.end(Outcome.FINISHED)
        await bench.until(lambda: operations.runs["r2"].condition == "finished" and not at_work(operations))
        offered = []
        for number in (3, 4, 5):
            operations.offer_adapters([])
            process = await bench.process(number)
            offered.append(process.settings.run_directory.name)
            process.end(Outcome.CRASHED)
            await bench.until(lambda: not at_work(operations))
        assert offered == ["r1", "r2", "r1"]

    asyncio.run(run())


def test_a_process_is_started_for_it_and_the_run_stays_finished_whatever_becomes_of_that(bench):
    async def run() -> None:
        operations, _ = await finished(bench)
        nodes = [Node(1, "site-0", b"", online=True, registered=True, since="monday")]
        operations.offer_adapters([Node(1, "site-0", b"", online=False, registered=True, since="monday")])
        operations.offer_adapters([Node(1, "site-0", b"", online=True, registered=False, since="monday")])
        assert len(bench.processes) == 1
        operations.offer_adapters(nodes)
        process = await bench.process(2)
        assert process.settings.run_directory == bench.server.runs / "r1"
        operations.offer_adapters([Node(1, "site-1", b"", online=True, registered=True, since="monday")])
        await asyncio.sleep(0.02)
        assert len(bench.processes) == 2  # one at a time
        process.end(Outcome.CRASHED)
        await bench.until(lambda: not operations.runs["r1"].is_at_work)
        assert bench.saved().condition == "finished"
        operations.offer_adapters(nodes)
        assert len(bench.processes) == 2  # not at once again
        await operations.pause_runs()

    asyncio.run(run())


def test_a_run_of_an_older_version_has_nothing_to_offer(bench):
    async def run() -> None:
        _, store = await finished(bench)
        (store.directory / "layout.json").unlink()
        assert not Offers(store.directory).is_due(ONLINE)

    asyncio.run(run())
