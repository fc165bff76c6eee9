"""Each tracker's real library reads back what a server knows of a run, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from read_back import READERS

from sealora_common.records.event_log import EventLog, read_events
from sealora_common.records.events import RoundFinished, RunInterrupted, RunStarted
from sealora_server.cli import cli
from sealora_server.tracking.follow import Follower
from sealora_server.tracking.kinds.choice import trackers_of

from run_fixture import SITES, history_line, write_run
from tiny_federation import typed

ENDED = {"mlflow": "FINISHED", "tensorboard": "", "wandb": "0"}
SECRET = "postgresql://ward:hunter2@records.example/diagnoses"


def tell(run: Path, kind: str, directory: Path) -> None:
    follower = Follower(run, trackers_of([f"{kind}:{directory}"]))
    follower.read()
    follower.close()
    assert follower.lost == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_what_is_written_is_read_back(kind, tmp_path):
    run = write_run(tmp_path / "run", with_trouble=True)
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(f"{recipe}sites: {{simulated: {{a: '{SECRET}', b: data/b.jsonl}}}}\n")
    said = typed(cli, "track", run, f"{kind}:{tmp_path / 'out'}")
    assert f"{kind}:{tmp_path / 'out'}: 4 of 4 rounds; the run is finished" in said
    (found,) = READERS[kind](tmp_path / "out")
    assert found.name == "demo-icd10-20260610-091"
    assert found.ended == ENDED[kind]
    expected = {"privacy.epsilon": "8.0", "training.learning_rate": "0.002", "adapter": "lora", "rounds": "4"}
    assert {name: found.settings[name] for name in expected} == expected
    assert found.settings["recipe_hash"] == "ab12" * 16
    assert not {name for name in found.settings if name.startswith(("sites", "ia3", "full"))}
    told = {
        entry.event.round - 1: entry.event.heldout_loss
        for entry in read_events(run / "events.jsonl")
        if isinstance(entry.event, RoundFinished)
    }
    curve = found.curves["heldout/loss"]
    assert sorted(curve) == [0, 1, 2, 3, 4]
    for rounds, value in told.items():
        assert curve[rounds] == [pytest.approx(value, rel=1e-6)]
    assert set(found.curves["round/survivors"]) == {1, 2, 3, 4}
    assert found.curves["round/survivors"][4] == [len(SITES)]
    assert [found.curves["round/lost_answers"][number][-1] for number in (1, 2, 3)] == [0, 1, 0]
    assert found.curves["round/aborted_attempts"][2] == [1]
    assert found.curves["round/bytes_from_sites"][1] == [pytest.approx(3 * (1_830_000 + 4 * 2_600))]
    epsilons = [found.curves["privacy/epsilon_training"][number][-1] for number in (1, 2, 3, 4)]
    assert epsilons == sorted(epsilons)
    assert 4 < epsilons[0] < epsilons[-1] <= 8
    assert found.curves["privacy/epsilon_heldout"][4][-1] <= 8


@pytest.mark.parametrize("kind", READERS)
def test_nothing_of_a_single_site_is_written_nor_where_its_records_are(kind, tmp_path):
    run = write_run(tmp_path / "run")
    recipe = (run / "recipe.yaml").read_text().replace("smollm2-135m-instruct", "/srv/wards/models/own-model")
    (run / "recipe.yaml").write_text(f"{recipe}sites: {{simulated: {{a: '{SECRET}'}}}}\n")
    tell(run, kind, tmp_path / "out")
    (found,) = READERS[kind](tmp_path / "out")
    assert found.settings["model.base"] == "own-model"
    exact = {round(history_line(index, number, 4)["heldout_loss"], 4) for index in range(3) for number in range(1, 6)}
    values = {round(value, 4) for curve in found.curves.values() for told in curve.values() for value in told}
    assert not exact & values
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    for private in (*SITES, "hunter2", "/srv/wards"):
        assert private.encode() not in written


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_a_run_that_is_told_again_is_there_once_and_goes_on(kind, tmp_path):
    run = write_run(tmp_path / "run", stop_after=2)
    for _ in range(2):
        tell(run, kind, tmp_path / "out")
    (found,) = READERS[kind](tmp_path / "out")
    assert sorted(found.curves["heldout/loss"]) == [0, 1]
    assert found.ended == {"mlflow": "RUNNING", "tensorboard": "", "wandb": "0"}[kind]
    log = EventLog(run / "events.jsonl", clock=lambda: 1_760_000_000.0)
    log.write(RunInterrupted(round=3))
    tell(run, kind, tmp_path / "out")
    (found,) = READERS[kind](tmp_path / "out")
    assert found.ended == {"mlflow": "KILLED", "tensorboard": "", "wandb": "130"}[kind]
    whole = write_run(tmp_path / "whole")
    (run / "events.jsonl").write_bytes((whole / "events.jsonl").read_bytes())
    tell(run, kind, tmp_path / "out")
    (found,) = READERS[kind](tmp_path / "out")
    assert found.ended == ENDED[kind]
    assert sorted(found.curves["round/seconds"]) == [1, 2, 3, 4]
    for name, curve in found.curves.items():
        if not name.startswith("privacy"):
            assert {rounds: len(values) for rounds, values in curve.items()} == dict.fromkeys(curve, 1), name


@pytest.mark.parametrize("kind", READERS)
def test_two_runs_lie_side_by_side(kind, tmp_path):
    run = write_run(tmp_path / "run")
    tell(run, kind, tmp_path / "out")
    lines = (run / "events.jsonl").read_text().replace("20260610-091502-7c1e", "20260611-101010-8d2f")
    (run / "events.jsonl").write_text(lines)
    tell(run, kind, tmp_path / "out")
    assert sorted(found.name for found in READERS[kind](tmp_path / "out")) == [
        "demo-icd10-20260610-091",
        "demo-icd10-20260611-101",
    ]


def test_noise_stands_beside_the_figure_and_nothing_is_promised_where_nothing_is(tmp_path):
    run = write_run(tmp_path / "run")
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert lines[0]["event"] == RunStarted.model_fields["event"].default
    lines[0] |= {"heldout_noise": 3.0, "heldout_noise_least": 0.3}
    (run / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tell(run, "tensorboard", tmp_path / "out")
    tell(write_run(tmp_path / "open", mechanism="none"), "tensorboard", tmp_path / "other")
    (found,) = READERS["tensorboard"](tmp_path / "out")
    noise = found.curves["heldout/noise_deviation_least"]
    assert {rounds: values[0] for rounds, values in noise.items()} == pytest.approx(
        dict.fromkeys(range(5), 0.3 / 3**0.5)
    )
    (other,) = READERS["tensorboard"](tmp_path / "other")
    assert not {name for name in other.curves if name.startswith("privacy") or "noise" in name}
