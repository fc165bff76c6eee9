"""What may be submitted, and what is refused and leaves nothing."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from fleet_sites import FleetFederation

from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SystemEntropy
from sealora_common.errors import RecipeError
from sealora_common.export.peft_directory import PeftDirectory
from sealora_common.identity import Identity
from sealora_server.deployment.errors import DeploymentError
from sealora_server.deployment.operator.messages import Resume
from sealora_server.run.starting_adapter import digest_of_adapter
from sealora_server.run.store import RunStore

from pure_sites import LAYOUT, pure_recipe
from run_fixture import write_run
from run_host import ADA, RECIPE


def other_server(bench):
    return FleetFederation(RECIPE, 3, Identity.create("server", SystemEntropy()).public_key).roster


def no_server(bench):
    roster = bench.federation.roster.model_copy(update={"server": None, "signature": ""})
    return roster.signed(bench.federation.coordinator)


def no_node_key(bench):
    roster = bench.federation.roster
    member = roster.members[1].model_copy(update={"node_key": None})
    return roster.with_member(member).signed(bench.federation.coordinator)


REFUSED = {
    "the recipe's model.digest is missing, so sites could train on different base models: put in what "
    "`sealora-site model digest none` prints": {"recipe": lambda bench: pure_recipe()},
    "the roster names another server key, so sites would not accept": {"roster": other_server},
    "the roster names no server key": {"roster": no_server},
    "site 'site-1' has no node key on the roster": {"roster": no_node_key},
    "the coordinator's signature on the roster does not hold": {
        "roster": lambda bench: bench.federation.roster.without_member("site-2")
    },
    "the roster has 2 sites and the recipe needs 3: add sites": {
        "roster": lambda bench: bench.federation.roster.without_member("site-2").signed(bench.federation.coordinator)
    },
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_submission_that_could_come_to_nothing_is_refused_and_leaves_nothing(bench, said):
    async def run() -> None:
        operations = bench.operations()
        changes = {name: make(bench) for name, make in REFUSED[said].items()}
        with pytest.raises(DeploymentError) as caught:
            await operations.handle(bench.submission(**changes), ADA)
        assert said in str(caught.value)
        assert list(bench.server.runs.iterdir()) == []
        assert bench.superlink.known == {}
        assert operations.runs == {}

    asyncio.run(run())


def test_a_name_is_used_once(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        with pytest.raises(DeploymentError, match=r"r1 exists: give this run another name with --name"):
            await operations.handle(bench.submission(), ADA)
        await operations.pause_runs()

    asyncio.run(run())


def test_a_submission_that_finds_no_superlink_leaves_nothing_and_can_be_made_again(bench):
    async def run() -> None:
        operations = bench.operations()
        nodes, bench.superlink.nodes = bench.superlink.nodes, lambda: (_ for _ in ()).throw(DeploymentError("down"))
        with pytest.raises(DeploymentError, match="down"):
            await operations.handle(bench.submission(), ADA)
        assert list(bench.server.runs.iterdir()) == []
        bench.superlink.nodes = nodes
        await operations.handle(bench.submission(), ADA)
        await bench.process(1)
        await operations.pause_runs()

    asyncio.run(run())


def test_a_run_begins_with_the_adapter_that_was_agreed_on_and_with_no_other(bench, tmp_path):
    recipe = pure_recipe(model={"base": "none", "digest": "0" * 64}, lora={"rank": 2})
    values = {**adapter_kind(recipe).initial(LAYOUT)}
    values[LAYOUT.names[1]] += 1
    PeftDirectory().export(tmp_path / "adapter", values, recipe)
    agreed = recipe.model_copy(update={"continue_from": digest_of_adapter(values)})

    async def run() -> None:
        operations = bench.operations()
        for refused, named, said in (
            (recipe, str(tmp_path / "adapter"), "put in `continue_from:"),
            (agreed, None, "name the run or directory that holds it with --continue-from"),
        ):
            with pytest.raises(RecipeError, match=said):
                await operations.handle(bench.submission(recipe=refused, continue_from=named), ADA)
            assert list(bench.server.runs.iterdir()) == []
            assert bench.superlink.known == {}
        await operations.handle(bench.submission(recipe=agreed, continue_from=str(tmp_path / "adapter")), ADA)
        await operations.pause_runs()

    asyncio.run(run())
    kept = RunStore.open(bench.server.runs / "r1").adapter(0, LAYOUT)
    assert digest_of_adapter(kept) == agreed.continue_from


def test_a_submission_that_was_cut_short_is_left_alone(bench):
    RunStore.create(bench.server.runs / "cut", RECIPE)
    (bench.server.runs / "empty").mkdir()
    assert bench.operations().runs == {}


def test_a_run_whose_operation_file_is_damaged_waits_for_its_operator(bench):
    async def run() -> None:
        operations = bench.operations()
        await operations.handle(bench.submission(), ADA)
        await operations.pause_runs()
        (bench.server.runs / "r1" / "operation.json").write_text("{")
        again = bench.operations()
        again.start_runs()
        status = again.runs["r1"].status()
        assert status.condition == "stopped"
        assert "is missing or damaged: resume the run" in status.said

    asyncio.run(run())


def test_a_run_with_a_damaged_recipe_does_not_keep_the_others_from_starting(bench):
    async def run() -> None:
        operations = bench.operations()
        for name in ("bad", "good"):
            await operations.handle(bench.submission(name=name, roster=bench.elsewhere(name)), ADA)
        await operations.pause_runs()
        (bench.server.runs / "bad" / "recipe.yaml").write_text("rounds: many")
        assert list(bench.operations().runs) == ["good"]

    asyncio.run(run())


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: path.write_bytes(b"\xff\x00[[[["),
    "of another kind": lambda path: path.write_text('{"a": 1}'),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("file", ["run.json", "recipe.yaml", "roster.json", "operation.json", "events.jsonl"])
def test_a_run_is_shown_whichever_of_its_files_is_damaged_and_however_and_again_once_it_is_mended(
    bench, caplog, file, how
):
    async def run() -> None:
        operations = bench.operations()
        for name in ("bad", "good"):
            await operations.handle(bench.submission(name=name, roster=bench.elsewhere(name)), ADA)
        await bench.process(2)
        await operations.pause_runs()
        path = bench.server.runs / "bad" / file
        whole = path.read_bytes()
        DAMAGE[how](path)
        again = bench.operations()
        bad, good = again.statuses(frozenset())
        assert (bad.name, good.name) == ("bad", "good")
        assert good.condition == "running"
        if bad.condition == "damaged":
            assert file in bad.said
            assert "leave --resume out" not in bad.said
            assert f"run bad is damaged: {bad.said}" in caplog.text
            with pytest.raises(DeploymentError, match="run 'bad' is damaged: "):
                await again.handle(Resume(run="bad"), ADA)
        else:
            assert file in ("operation.json", "events.jsonl")
        caplog.clear()
        again.statuses(frozenset())
        assert caplog.records == []  # it is told once
        if path.is_dir():
            path.rmdir()
        path.write_bytes(whole)
        if bad.condition == "damaged":
            assert [status.condition for status in again.statuses(frozenset())] == ["running", "running"]
        await again.pause_runs()

    with caplog.at_level("INFO"):
        asyncio.run(run())


def test_where_a_damaged_run_was_is_told_of_its_events_and_one_that_is_deleted_is_gone(bench):
    async def run() -> None:
        await bench.operations().handle(bench.submission(), ADA)
        directory = bench.server.runs / "r1"
        write_run(directory, stop_after=2)
        (directory / "run.json").unlink()
        again = bench.operations()
        (status,) = again.statuses(frozenset())
        assert (status.condition, status.finished_rounds, status.rounds) == ("damaged", 2, 4)
        assert status.said == f"{directory / 'run.json'} is missing: restore it from a backup, or delete {directory}"
        shutil.rmtree(directory)
        assert again.statuses(frozenset()) == ()
        (bench.server.runs / "notes").mkdir()
        assert again.statuses(frozenset()) == ()

    asyncio.run(run())
