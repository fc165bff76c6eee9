"""What was asked for and approved survives restarts, kills, races and damage, and lets nothing else run."""

from __future__ import annotations

import asyncio
import json

import pytest
from demanding import ANNA, BERT, digest_of, require, told

from sealora_common.errors import StorageError
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.approval import Approval
from sealora_server.deployment.operator.messages import Approve, Delete, Refuse, Resume, Stop, UseRoster
from sealora_server.deployment.operator.person import Person


@pytest.fixture
def demanding(bench):
    """A server that demands approval."""
    require(bench)
    return bench


def test_it_all_survives_a_restart(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        again = demanding.operations()
        again.start_runs()
        assert (told(again).condition, told(again).approval.asked_by) == ("unapproved", "anna")
        assert demanding.processes == []
        await again.handle(Approve(run="r1", digest=digest_of(again)), BERT)
        await demanding.process(1)
        await again.pause_runs()
        third = demanding.operations()
        third.start_runs()
        assert told(third).approval.approved_by == "bert"
        await demanding.process(2)
        await third.pause_runs()

    asyncio.run(run())


def test_a_kill_between_the_approval_and_the_beginning_costs_another_approval_and_nothing_else(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        directory = demanding.server.runs / "r1"
        approval = Approval.load(directory)
        approval.model_copy(update={"approved_by": BERT, "approved_at": approval.asked_at}).save(directory)
        again = demanding.operations()
        again.start_runs()
        assert told(again).condition == "unapproved"
        await again.handle(Approve(run="r1", digest=digest_of(again)), BERT)
        await demanding.process(1)
        await again.pause_runs()

    asyncio.run(run())


def test_of_two_who_approve_at_once_one_does(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        approve = Approve(run="r1", digest=digest_of(operations))
        outcomes = await asyncio.gather(
            *(operations.handle(approve, Person(name=name)) for name in ("bert", "dora", "emil")),
            return_exceptions=True,
        )
        refused = [str(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
        assert refused == ["run 'r1' is running: nothing of it waits for approval"] * 2
        await demanding.process(1)
        assert len(demanding.processes) == 1
        await operations.pause_runs()

    asyncio.run(run())


@pytest.mark.parametrize("act", [Refuse(run="r1"), Stop(run="r1"), Delete(run="r1")])
def test_who_approves_what_is_refused_or_deleted_at_that_instant_starts_nothing(demanding, act):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        approve = Approve(run="r1", digest=digest_of(operations))
        first, second = await asyncio.gather(
            operations.handle(approve, BERT), operations.handle(act, BERT), return_exceptions=True
        )
        assert second is None or not isinstance(second, Exception)
        assert isinstance(first, DeploymentError)
        assert demanding.processes == []
        await operations.pause_runs()

    asyncio.run(run())


def test_a_run_from_before_the_demand_waits_once_it_is_demanded(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ANNA)
        await bench.process(1)
        await operations.pause_runs()
        require(bench)
        again = bench.operations()
        again.start_runs()
        await bench.until(lambda: told(again).condition == "failed")
        said = "no other person has approved it, as this server demands: resume it, which asks for approval"
        assert told(again).said == said
        await again.handle(Resume(run="r1"), ANNA)
        await again.handle(Approve(run="r1", digest=digest_of(again)), BERT)
        await bench.process(2)
        await again.pause_runs()

    asyncio.run(run())


def test_what_waits_goes_on_once_approval_is_demanded_no_more(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        require(demanding, required=False)
        again = demanding.operations()
        again.start_runs()
        assert told(again).condition == "unapproved"
        await again.handle(Resume(run="r1"), ANNA)
        await demanding.process(1)
        await again.pause_runs()

    asyncio.run(run())


def test_a_run_that_is_approved_waits_in_line_like_any_other(demanding):
    async def run() -> None:
        operations = demanding.operations()
        for name in ("r1", "r2"):
            await operations.handle(demanding.submission(name=name), ANNA)
            await operations.handle(Approve(run=name, digest=digest_of(operations, name)), BERT)
        assert (told(operations, "r2").condition, told(operations, "r2").said) == ("queued", "in line behind r1")
        roster = demanding.federation.roster.draft().signed(demanding.federation.coordinator)
        with pytest.raises(DeploymentError, match="is queued, and with another roster it must be approved anew"):
            await operations.handle(UseRoster(run="r2", roster=roster.model_dump_json()), ANNA)
        await operations.pause_runs()

    asyncio.run(run())


def test_a_damaged_file_is_named_and_lets_nothing_run(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        path = demanding.server.runs / "r1" / "approval.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 1}))
        assert path.stat().st_mode & 0o777 == 0o600
        status = told(demanding.operations())
        assert status.condition == "damaged"
        assert f"{path}: cannot be read (more: " in status.said

    asyncio.run(run())


def test_a_file_that_is_missing_is_no_approval(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
        await demanding.process(1)
        await operations.pause_runs()
        (demanding.server.runs / "r1" / "approval.json").unlink()
        again = demanding.operations()
        again.start_runs()
        await demanding.until(lambda: told(again).condition == "failed")
        assert len(demanding.processes) == 1

    asyncio.run(run())


def test_what_nobody_is_known_to_have_asked_for_is_not_approved(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        (demanding.server.runs / "r1" / "approval.json").unlink()
        again = demanding.operations()
        with pytest.raises(DeploymentError, match="run 'r1' is unapproved: nothing of it waits for approval"):
            await again.handle(Approve(run="r1", digest="0" * 64), BERT)
        assert demanding.processes == []

    asyncio.run(run())


def test_an_approval_that_cannot_be_written_lets_nothing_run(demanding, monkeypatch):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)

        def full(self, directory):
            raise StorageError("the disk is full")

        monkeypatch.setattr(Approval, "save", full)
        with pytest.raises(StorageError, match="the disk is full"):
            await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
        assert (told(operations).condition, demanding.processes) == ("unapproved", [])
        assert told(operations).approval.approved_by is None

    asyncio.run(run())
