"""Runs in line: in which order they are done, over restarts, and whom they wait for."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import Delete, Resume, Stop
from sealora_server.deployment.runs.queue import Wanted, ahead_of, next_place, ready_to_begin
from sealora_server.deployment.runs.serverapp_process import Outcome
from sealora_server.deployment.runs.submission import Operation

from run_host import ADA

ROSTERS = st.frozensets(st.sampled_from("abcde"), min_size=1)


def conditions(operations):
    return {status.name: (status.condition, status.said) for status in operations.statuses(frozenset())}


async def submit(bench, operations, *names, **changes):
    for name in names:
        await operations.handle(bench.submission(name=name, **changes), ADA)


def test_runs_of_the_same_sites_are_done_one_after_the_other_in_the_order_of_their_submission(bench):
    async def run() -> None:
        operations = bench.operations()
        await submit(bench, operations, "r1", "zz", "aa")
        first = await bench.process(1)
        assert conditions(operations) == {
            "r1": ("running", "waits for its sites"),
            "zz": ("queued", "in line behind r1"),
            "aa": ("queued", "in line behind r1, zz"),
        }
        assert [bench.saved(name).place for name in ("r1", "zz", "aa")] == [0, 1, 2]
        first.end(Outcome.FINISHED)
        await bench.until(lambda: bench.saved("r1").condition == "finished")
        operations.begin_those_whose_turn_it_is()
        second = await bench.process(2)
        assert second.settings.run_directory.name == "zz"
        assert bench.saved("zz").place == 0
        second.end(Outcome.FAILED)
        await bench.until(lambda: bench.saved("zz").condition == "failed")
        operations.begin_those_whose_turn_it_is()
        assert (await bench.process(3)).settings.run_directory.name == "aa"
        await operations.pause_runs()

    asyncio.run(run())


def test_the_line_is_the_same_after_a_restart_and_a_kill_between_turn_and_start_loses_no_run(bench):
    async def run() -> None:
        operations = bench.operations()
        await submit(bench, operations, "r1", "zz", "aa")
        await bench.process(1)
        await operations.pause_runs()
        again = bench.operations()
        again.start_runs()
        assert (await bench.process(2)).settings.run_directory.name == "r1"
        assert conditions(again)["aa"] == ("queued", "in line behind r1, zz")
        await again.pause_runs()
        Operation(condition="finished").save(bench.server.runs / "r1")  # and the server is killed before zz began
        third = bench.operations()
        third.start_runs()
        assert (await bench.process(3)).settings.run_directory.name == "zz"
        assert conditions(third)["aa"] == ("queued", "in line behind zz")
        await third.pause_runs()

    asyncio.run(run())


def test_a_run_is_taken_out_of_the_line_and_comes_back_at_its_end(bench):
    async def run() -> None:
        operations = bench.operations()
        await submit(bench, operations, "r1", "r2", "r3")
        await operations.handle(Stop(run="r2"), ADA)
        assert conditions(operations)["r3"] == ("queued", "in line behind r1")
        assert conditions(operations)["r2"][0] == "stopped"
        await operations.handle(Resume(run="r2"), ADA)
        assert conditions(operations)["r2"] == ("queued", "in line behind r1, r3")
        with pytest.raises(DeploymentError, match="run 'r2' cannot be resumed: it is queued"):
            await operations.handle(Resume(run="r2"), ADA)
        assert len(bench.processes) <= 1
        await operations.pause_runs()

    asyncio.run(run())


def test_stopping_the_run_under_way_lets_the_next_one_begin_and_resuming_it_waits_for_that(bench):
    async def run() -> None:
        operations = bench.operations()
        await submit(bench, operations, "r1", "r2")
        await bench.process(1)
        await operations.handle(Stop(run="r1"), ADA)
        assert (await bench.process(2)).settings.run_directory.name == "r2"
        await operations.handle(Resume(run="r1"), ADA)
        assert conditions(operations)["r1"] == ("queued", "in line behind r2")
        await operations.pause_runs()

    asyncio.run(run())


def test_runs_without_a_site_in_common_do_not_wait_for_each_other(bench):
    async def run() -> None:
        operations = bench.operations()
        await submit(bench, operations, "r1", "r2")
        await submit(bench, operations, "other", roster=bench.elsewhere())
        await bench.process(2)
        assert {name: said[0] for name, said in conditions(operations).items()} == {
            "r1": "running", "r2": "queued", "other": "running",
        }  # fmt: skip
        await operations.pause_runs()

    asyncio.run(run())


def test_a_deleted_run_is_gone_its_name_is_free_and_one_under_way_or_in_line_is_not_deleted(bench):
    async def run() -> None:
        operations = bench.operations()
        await submit(bench, operations, "r1", "r2")
        await bench.process(1)
        for name, how in (("r1", "running"), ("r2", "queued")):
            with pytest.raises(DeploymentError, match=f"run '{name}' is {how}: stop it first"):
                await operations.handle(Delete(run=name), ADA)
        with pytest.raises(DeploymentError, match="there is no run 'r9'"):
            await operations.handle(Delete(run="r9"), ADA)
        await operations.handle(Stop(run="r2"), ADA)
        await operations.handle(Delete(run="r2"), ADA)
        assert [path.name for path in bench.server.runs.iterdir()] == ["r1"]
        assert list(conditions(operations)) == ["r1"]
        await submit(bench, operations, "r2")
        await operations.pause_runs()

    asyncio.run(run())


def test_a_damaged_run_can_be_deleted_and_what_a_kill_left_of_a_deletion_goes_at_the_next_start(bench):
    async def run() -> None:
        await submit(bench, bench.operations(), "r1")
        (bench.server.runs / "r1" / "recipe.yaml").write_text("rounds: many")
        again = bench.operations()
        assert conditions(again)["r1"][0] == "damaged"
        await again.handle(Delete(run="r1"), ADA)
        assert conditions(again) == {}
        await submit(bench, again, "r2")
        await again.pause_runs()
        (bench.server.runs / "r2").rename(bench.server.runs / ".r2.deleted")
        assert conditions(bench.operations()) == {}
        assert list(bench.server.runs.iterdir()) == []

    asyncio.run(run())


@given(st.lists(ROSTERS, max_size=8))
def test_whoever_waits_is_done_at_last_in_order_and_no_two_at_once_share_a_site(rosters):
    line = [Wanted(str(number), sites, number) for number, sites in enumerate(rosters, start=1)]
    done: list[Wanted] = []
    while line:
        begun = [run for run in line if run.name in ready_to_begin(line)]
        assert begun, "somebody waits for ever"
        for run in begun:
            assert not any(run.sites & other.sites for other in begun if other is not run)
        done += begun
        line = [run for run in line if run not in begun]
    for first, second in ((a, b) for a in done for b in done if a.place < b.place and a.sites & b.sites):
        assert done.index(first) < done.index(second)


def test_the_end_of_the_line_is_behind_all():
    runs = [Wanted("a", frozenset("x")), Wanted("b", frozenset("x"), 4)]
    assert next_place(runs) == 5
    assert next_place([]) == 1
    assert ahead_of(frozenset("x"), runs) == ("a", "b")
    assert ahead_of(frozenset("y"), runs) == ()
