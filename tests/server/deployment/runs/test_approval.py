"""A second person's approval, by the operations of a server that demands it."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from demanding import ANNA, BERT, digest_of, require, told

from sealora_common.records.event_log import read_events
from sealora_common.records.events import OperatorActed
from sealora_common.roster import Roster
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import Approve, Delete, Refuse, Resume, Stop, UseRoster
from sealora_server.deployment.operator.person import Person
from sealora_server.deployment.runs.serverapp_process import Outcome
from sealora_server.upkeep.deletion import delete_run

from run_host import ADA, RECIPE


@pytest.fixture
def demanding(bench):
    """A server that demands approval."""
    require(bench)
    return bench


def test_what_one_person_submits_runs_once_another_has_approved_it(demanding, caplog):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        status = told(operations)
        assert (status.condition, demanding.processes, demanding.superlink.known) == ("unapproved", [], {})
        assert status.said == (
            "anna asked for it: another person must approve it, with `sealora server approve` or at the dashboard"
        )
        await operations.handle(Approve(run="r1", digest=status.approval.digest), BERT)
        process = await demanding.process(1)
        status = told(operations)
        assert (status.condition, status.approval.asked_by, status.approval.approved_by) == ("running", "anna", "bert")
        assert status.approval.asked_at <= status.approval.approved_at
        assert len(demanding.superlink.known) == 3
        acts = [entry.event for entry in read_events(demanding.server.runs / "r1" / "events.jsonl")]
        assert [(act.action, act.account) for act in acts if isinstance(act, OperatorActed)] == [
            ("submit", "anna"),
            ("approve", "bert"),
        ]
        process.end(Outcome.FINISHED)
        await demanding.until(lambda: told(operations).condition == "finished")
        await operations.pause_runs()

    with caplog.at_level("INFO"):
        asyncio.run(run())
    lines = [record.getMessage() for record in caplog.records]
    assert "run r1: submitted by anna" in lines
    assert "run r1: approved by bert" in lines


SAME = {
    "the same name": (ANNA, Person(name="anna")),
    "another spelling": (ANNA, Person(name="Anna")),
    "an account of that name": (Person.of_account("anna"), ANNA),
    "another name of one whom a login service knows": (
        Person(name="anna", subject="https://login 7"),
        Person(name="dora", subject="https://login 7"),
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_who_asked_cannot_approve(demanding, case):
    asks, approves = SAME[case]

    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), asks)
        with pytest.raises(DeploymentError, match=f"run 'r1': {asks.name} asked for it: another person must approve"):
            await operations.handle(Approve(run="r1", digest=digest_of(operations)), approves)
        assert (told(operations).condition, demanding.processes) == ("unapproved", [])

    asyncio.run(run())


WHO_MAY = {
    "an account, unless it is named": (None, ADA, False),
    "an operator": (None, BERT, True),
    "who is named": (["bert", "account:ada"], BERT, True),
    "an account that is named": (["bert", "account:ada"], ADA, True),
    "an operator who is not named": (["dora", "account:ada"], BERT, False),
    "an account whose name is a person's": (["ada"], ADA, False),
    "a person whose name is an account's": (["account:bert"], BERT, False),
}


@pytest.mark.parametrize("case", WHO_MAY)
@pytest.mark.parametrize("act", ["approve", "refuse"])
def test_who_may_approve(bench, case, act):
    approvers, person, may = WHO_MAY[case]
    require(bench, approvers=approvers)

    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ANNA)
        request = Approve(run="r1", digest=digest_of(operations)) if act == "approve" else Refuse(run="r1")
        refused = pytest.raises(DeploymentError, match=f"{person.listed} may not approve runs: `approval` in")
        with contextlib.nullcontext() if may else refused:
            await operations.handle(request, person)
        done = "running" if act == "approve" else "stopped"
        assert told(operations).condition == (done if may else "unapproved")
        await operations.pause_runs()

    asyncio.run(run())


def test_what_is_approved_is_what_was_looked_at(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        seen = digest_of(operations)
        await operations.handle(Stop(run="r1"), ANNA)
        await operations.handle(Delete(run="r1"), ANNA)
        other = RECIPE.model_copy(update={"rounds": 9})
        await operations.handle(demanding.submission(recipe=other), ANNA)
        assert digest_of(operations) != seen
        with pytest.raises(DeploymentError, match=r"run 'r1': what waits for approval \(\w{12}\) is not what was"):
            await operations.handle(Approve(run="r1", digest=seen), BERT)
        assert demanding.processes == []

    asyncio.run(run())


def swap_recipe(directory):
    path = directory / "recipe.yaml"
    path.write_bytes(path.read_bytes() + b"# another\n")


def swap_roster(directory, federation):
    roster = Roster.load(directory / "roster.json").draft().signed(federation.coordinator)
    roster.save(directory / "roster.json")


@pytest.mark.parametrize("file", ["recipe.yaml", "roster.json"])
@pytest.mark.parametrize("when", ["before it is approved", "before it begins", "between two of its processes"])
def test_what_is_put_in_the_place_of_what_was_approved_does_not_run(demanding, file, when):
    directory = demanding.server.runs / "r1"

    def swap():
        swap_recipe(directory) if file == "recipe.yaml" else swap_roster(directory, demanding.federation)

    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        if when == "before it is approved":
            swap()
            with pytest.raises(DeploymentError, match=f"{file} is not the .* that anna asked for"):
                await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
            assert demanding.processes == []
            return
        if when == "before it begins":
            demanding.superlink.refusals = 10**6
        await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
        if when == "before it begins":
            swap()
            demanding.superlink.refusals = 0
        else:
            process = await demanding.process(1)
            swap()
            process.end(Outcome.STOPPED)
        await demanding.until(lambda: told(operations).condition == "failed")
        assert f"{file} is not the" in told(operations).said
        assert "that bert approved: resume it, which asks for approval" in told(operations).said
        assert len(demanding.processes) <= 1
        await operations.handle(Resume(run="r1"), ANNA)
        assert told(operations).condition == "unapproved"
        await operations.pause_runs()

    asyncio.run(run())


def test_a_roster_is_not_changed_under_what_was_approved(demanding):
    async def run() -> None:
        operations = demanding.operations()
        next_roster = demanding.federation.roster.draft().signed(demanding.federation.coordinator)
        use = UseRoster(run="r1", roster=next_roster.model_dump_json())
        await operations.handle(demanding.submission(), ANNA)
        with pytest.raises(DeploymentError, match="is unapproved, and with another roster it must be approved anew"):
            await operations.handle(use, ANNA)
        await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
        await demanding.process(1)
        with pytest.raises(DeploymentError, match="is running, and with another roster it must be approved anew"):
            await operations.handle(use, ANNA)
        await operations.handle(Stop(run="r1"), ANNA)
        await operations.handle(use, ANNA)
        await operations.handle(Resume(run="r1"), ANNA)
        assert told(operations).condition == "unapproved"
        assert told(operations).approval.approved_by is None
        await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
        await demanding.process(2)
        await operations.pause_runs()

    asyncio.run(run())


def test_a_run_that_was_approved_and_stopped_goes_on_without_being_approved_again(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
        await demanding.process(1)
        await operations.handle(Stop(run="r1"), BERT)
        await operations.handle(Resume(run="r1"), ANNA)
        await demanding.process(2)
        await operations.pause_runs()

    asyncio.run(run())


def test_what_is_refused_or_taken_back_does_not_run_until_it_is_asked_for_and_approved(demanding):
    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        await operations.handle(Refuse(run="r1"), BERT)
        assert (told(operations).condition, told(operations).said) == ("stopped", "bert refused to approve it")
        with pytest.raises(DeploymentError, match="run 'r1' is stopped: nothing of it waits for approval"):
            await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
        await operations.handle(Resume(run="r1"), ANNA)
        with pytest.raises(DeploymentError, match="run 'r1' waits for approval: anna asked for it"):
            await operations.handle(Resume(run="r1"), BERT)
        await operations.handle(Stop(run="r1"), ANNA)
        await operations.handle(Resume(run="r1"), BERT)
        assert told(operations).approval.asked_by == "bert"
        await operations.handle(Approve(run="r1", digest=digest_of(operations)), ANNA)
        await demanding.process(1)
        await operations.pause_runs()

    asyncio.run(run())


def test_a_roster_is_not_changed_under_a_run_that_goes_on_meanwhile(demanding):
    async def run() -> None:
        operations = demanding.operations()
        next_roster = demanding.federation.roster.draft().signed(demanding.federation.coordinator)
        use = UseRoster(run="r1", roster=next_roster.model_dump_json())
        await operations.handle(demanding.submission(), ANNA)
        await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
        await demanding.process(1)
        await operations.handle(Stop(run="r1"), ANNA)
        before = (demanding.server.runs / "r1" / "roster.json").read_bytes()
        used, resumed = await asyncio.gather(
            operations.handle(use, ANNA), operations.handle(Resume(run="r1"), ANNA), return_exceptions=True
        )
        assert isinstance(used, DeploymentError)
        assert not isinstance(resumed, Exception)
        assert (demanding.server.runs / "r1" / "roster.json").read_bytes() == before
        assert told(operations).condition == "running"
        await operations.pause_runs()

    asyncio.run(run())


def test_a_run_that_is_being_deleted_is_not_resumed(demanding, monkeypatch):
    deleting, goes_on = threading.Event(), threading.Event()

    def delete(directory):
        deleting.set()
        goes_on.wait(10)
        delete_run(directory)

    monkeypatch.setattr("sealora_server.deployment.operator.operations.delete_run", delete)

    async def run() -> None:
        operations = demanding.operations()
        await operations.handle(demanding.submission(), ANNA)
        await operations.handle(Approve(run="r1", digest=digest_of(operations)), BERT)
        await demanding.process(1)
        await operations.handle(Stop(run="r1"), ANNA)
        deleted = asyncio.create_task(operations.handle(Delete(run="r1"), ANNA))
        await demanding.until(deleting.is_set)
        resumed = asyncio.create_task(operations.handle(Resume(run="r1"), BERT))
        await asyncio.sleep(0.05)
        goes_on.set()
        await deleted
        with pytest.raises(DeploymentError, match="there is no run 'r1'"):
            await resumed
        assert len(demanding.processes) == 1
        await operations.pause_runs()

    asyncio.run(run())
