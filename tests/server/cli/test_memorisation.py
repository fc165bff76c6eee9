"""`sealora memorisation` as a person meets it: a recipe, every kind of bad input, Ctrl-C."""

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

from cli_server import Done
from tiny_federation import PRIVATE, write_federation

SEALORA = Path(sys.executable).with_name("sealora")
FORM = {
    "data": {"max_tokens": 80},
    "training": {"sample_rate": 1.0, "micro_batch_size": 32},
    "privacy": PRIVATE,
}
FEW = ("--secrets", "12", "--repeats", "1", "--repeats", "3", "--candidates", "3")


@pytest.fixture(scope="module")
def directory(tiny_base, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("memorised")
    write_federation(directory, tiny_base(), records=8, rounds=1, **FORM)
    return directory


@pytest.fixture(scope="module")
def finished(cli, directory) -> Done:
    done = cli.run("memorisation", "recipe.yaml", *FEW, "--out", "found", cwd=directory)
    assert done.status == 0, done.stderr
    return done


def told_of(directory: Path) -> dict:
    return json.loads((directory / "found" / "memorisation.json").read_text())


def one_sentence(done: Done) -> str:
    assert done.status == 1, (done.stdout, done.stderr)
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.rstrip()


def test_a_recipe_that_learns_nothing_in_a_round_is_told_to_be_too_weak_a_test(finished, directory):
    told = told_of(directory)
    assert told["standing"] == "too weak"
    assert " ".join(told["verdict"].split()) in " ".join(finished.stdout.split())
    assert "take more rounds (rounds=)" in told["verdict"]
    assert (directory / "found" / "memorisation.html").exists()


@pytest.mark.slow
def test_json_is_one_object_and_what_is_there_is_not_computed_again(cli, finished, directory):
    written = {path: path.stat().st_mtime_ns for path in (directory / "found" / "outcomes").iterdir()}
    done = cli.run("memorisation", "recipe.yaml", *FEW, "--out", "found", "--json", cwd=directory)
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout) == told_of(directory)
    assert "0 to compute" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in (directory / "found" / "outcomes").iterdir()} == written


BAD = {
    "no such recipe": (["nowhere.yaml"], "nowhere.yaml: no such recipe"),
    "an unknown key": (["recipe.yaml", "trainig.x=1"], "did you mean 'training'?"),
    "another test": (["recipe.yaml", *FEW, "rounds=2", "--out", "found"], "found holds a memorisation test with other"),
    "too few": (["recipe.yaml", "--secrets", "5"], "--secrets is 5: with 3 numbers of repeats fewer than 12 say"),
    "cut": (["recipe.yaml", "data.max_tokens=32", *FEW], "data.max_tokens is 32, which cuts made-up records"),
    "no sites": (["recipe.yaml", "sites.simulated={}"], "sites.simulated names 0 sites"),
    "no data": (["recipe.yaml", "sites.simulated.site-1=x.jsonl"], "x.jsonl does not exist"),
    "an out that is a file": (["recipe.yaml", *FEW, "--out", "recipe.yaml"], "recipe.yaml"),
}


@pytest.mark.parametrize("case", quick_cases(BAD, "no such recipe", "an unknown key", "too few", "no sites", "no data"))
def test_bad_input_ends_in_one_sentence(cli, finished, directory, case):
    words, said = BAD[case]
    assert said in one_sentence(cli.run("memorisation", *words, cwd=directory))


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_computed_and_the_command_it_names_goes_on(tiny_base, tmp_path):
    directory = tmp_path / "a directory"
    recipe = write_federation(directory, tiny_base(), records=8, rounds=400, **FORM)
    out = tmp_path / "found"
    command = [SEALORA, "memorisation", recipe, "rounds=3", *FEW, "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    deadline = time.monotonic() + 240
    while not (out / "outcomes" / "base-seed-0.json").exists():
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, stderr = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "Traceback" not in stderr
    assert not (out / "memorisation.json").exists()
    kept = {path: path.read_bytes() for path in (out / "outcomes").iterdir()}
    assert len(kept) < 3
    (named,) = re.findall(r"To go on:  (.*)", stderr)
    again = shlex.split(named)
    assert again[0] == "sealora"
    done = subprocess.run(
        [SEALORA, *again[1:]], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{3 - len(kept)} to compute" in done.stdout
    assert {path: path.read_bytes() for path in kept} == kept
    assert "too weak to say anything" in done.stdout
