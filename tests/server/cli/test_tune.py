"""`sealora tune` as a person meets it: a table, a recipe to hand on, every kind of bad input, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quick_cases import quick_cases
from sealora_common.recipe import load_recipe

from cli_server import Done
from tiny_federation import write_federation

SEALORA = Path(sys.executable).with_name("sealora")
SECTIONS = {"training": {"learning_rate": 0.01, "steps_per_round": 1, "sample_rate": 0.3}}
RATE = ("--search", "training.learning_rate=0.01..0.2:log")
PUBLIC = ("--records", "public")


@pytest.fixture(scope="module")
def directory(tiny_base, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("tuned")
    write_federation(directory, tiny_base(), rounds=1, **SECTIONS)
    return directory


@pytest.fixture(scope="module")
def finished(cli, directory) -> Done:
    done = cli.run("tune", "recipe.yaml", *RATE, *PUBLIC, "--trials", "3", "--out", "found", cwd=directory)
    assert done.status == 0, done.stderr
    return done


def one_sentence(done: Done) -> str:
    assert done.status == 1, (done.stdout, done.stderr)
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.rstrip()


def test_trials_are_shown_and_the_best_recipe_is_one_that_runs(cli, finished, directory):
    assert len(re.findall(r"^ [1-3](?: \(as is\))? +0\.\d+ +\d\.\d\d\d ", finished.stdout, re.MULTILINE)) == 3
    assert "free as the records are public by your word" in finished.stdout.replace("\n", " ")
    told = json.loads((directory / "found" / "tuning.json").read_text())
    assert load_recipe(directory / "found" / "best.yaml").hash == told["best_recipe_hash"]
    assert min(trial["figure"] for trial in told["trials"]) == told["trials"][told["best"] - 1]["figure"]
    # Not on what it was tuned on alone: a comparison finds the very figure.
    done = cli.run(
        "compare", "found/best.yaml", "--only", "federated", "--seeds", "1", "--out", "judged", "--json", cwd=directory
    )
    assert done.status == 0, done.stderr
    (arm,) = json.loads(done.stdout)["arms"]
    assert arm["figures"] == [told["trials"][told["best"] - 1]["figure"]]


@pytest.mark.slow
def test_json_is_one_object_and_what_is_there_is_not_run_again(cli, finished, directory):
    words = ("tune", "recipe.yaml", *RATE, *PUBLIC, "--trials", "3", "--out", "found", "--json")
    done = cli.run(*words, cwd=directory)
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((directory / "found" / "tuning.json").read_text())
    assert "0 to run" in done.stderr


@pytest.mark.slow
def test_private_records_are_tuned_on_at_a_price(cli, tiny_base, tmp_path):
    privacy = {"mechanism": "distributed", "epsilon": 8.0, "delta": 1e-3}
    training = {"sample_rate": 0.5, "steps_per_round": 1}
    write_federation(
        tmp_path, tiny_base(), rounds=2, privacy=privacy, training=training, sealing={"ring_bits": 24, "weight_cap": 30}
    )
    words = ("tune", "recipe.yaml", "--records", "private", "--trials", "2", "--out", "found")
    done = cli.run(*words, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "When all of it is done: Tuning has cost epsilon" in done.stdout
    assert "no exact one was looked at" in done.stdout
    told = json.loads((tmp_path / "found" / "tuning.json").read_text())
    assert told["price"]["epsilon"] > 8.0
    assert told["records"] == "private"
    assert all(trial["noise"] > 0 for trial in told["trials"])


@pytest.mark.slow
def test_another_adapter_is_tried_on_a_model_of_its_own(cli, directory):
    words = ("tune", "recipe.yaml", "--search", "lora.rank=1,2,4", *PUBLIC, "--trials", "4", "--out", "ranks", "--json")
    done = cli.run(*words, cwd=directory)
    assert done.status == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    assert len({trial["values"]["lora.rank"] for trial in trials}) > 1
    figures = {trial["values"]["lora.rank"]: trial["figure"] for trial in trials}
    assert len(set(figures.values())) == len(figures)


BAD = {
    "no such recipe": (["nowhere.yaml"], "nowhere.yaml: no such recipe"),
    "no such field": (["recipe.yaml", "--search", "lora.ranks=1,2"], "did you mean lora.rank?"),
    "epsilon": (["recipe.yaml", "--search", "privacy.epsilon=1,2"], "privacy.epsilon may not be searched, as it"),
    "no records said": (["recipe.yaml"], "say what yours are by --records public, synthetic or private"),
    "private without noise": (["recipe.yaml", "--records", "private"], "privacy.mechanism is none"),
    "no data": (["recipe.yaml", *PUBLIC, "sites.simulated.site-1=x.jsonl"], "x.jsonl does not exist"),
    "an out that is a file": (["recipe.yaml", *PUBLIC, "--out", "recipe.yaml"], "recipe.yaml"),
    "another search": (["recipe.yaml", *PUBLIC, "--out", "found"], "found holds a tuning of another recipe, another"),
}


@pytest.mark.parametrize(
    "case", quick_cases(BAD, "no such recipe", "no such field", "epsilon", "private without noise", "no data")
)
def test_bad_input_ends_in_one_sentence(cli, finished, directory, case):
    words, said = BAD[case]
    assert said in one_sentence(cli.run("tune", *words, cwd=directory))


@pytest.mark.slow
def test_ctrl_c_keeps_finished_trials_and_the_command_it_names_goes_on(tiny_base, tmp_path):
    directory = tmp_path / "a directory"
    recipe = write_federation(directory, tiny_base(), rounds=2, **SECTIONS)
    command = [SEALORA, "tune", recipe, "rounds=3", *RATE, *PUBLIC, "--trials", "5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = tmp_path / "found"
    started = subprocess.Popen(
        [*command, "--out", out],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not (out / "trials" / "0002.json").exists():
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, stderr = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "Traceback" not in stderr
    kept = {path: path.read_bytes() for path in (out / "trials").iterdir()}
    assert 2 <= len(kept) < 5
    assert not (out / "tuning.json").exists()
    (named,) = re.findall(r"To go on:  (.*)", stderr)
    again = shlex.split(named)
    assert again[0] == "sealora"
    done = subprocess.run(
        [SEALORA, *again[1:]], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in kept} == kept
    told = json.loads((out / "tuning.json").read_text())
    assert [trial["end"] for trial in told["trials"]] == ["done"] * 5
