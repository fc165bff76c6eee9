"""`sealora compare` as a person meets it: a recipe, finished runs, every kind of bad input, Ctrl-C."""

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

from cli_server import Done
from tiny_federation import write_federation

SEALORA = Path(sys.executable).with_name("sealora")
NAMES = ("base model", "site-0 alone", "site-1 alone", "site-2 alone", "federated", "pooled records")
SECTIONS = {"training": {"learning_rate": 0.05, "steps_per_round": 2, "sample_rate": 0.3}}


@pytest.fixture(scope="module")
def directory(tiny_base, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("compared")
    write_federation(directory, tiny_base(), rounds=1, **SECTIONS)
    return directory


@pytest.fixture(scope="module")
def finished(cli, directory) -> Done:
    done = cli.run("compare", "recipe.yaml", "--seeds", "1", "--out", "found", cwd=directory)
    assert done.status == 0, done.stderr
    return done


def one_sentence(done: Done) -> str:
    assert done.status == 1, (done.stdout, done.stderr)
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.rstrip()


def test_a_recipe_s_arms_are_shown_and_kept(finished, directory):
    for name in NAMES:
        assert re.search(rf"^ {name} +\d\.\d\d\d ", finished.stdout, re.MULTILINE), name
    assert "Federated minus the best site alone" in finished.stdout
    assert "nothing of it is a release" in finished.stdout.replace("\n", " ")
    told = json.loads((directory / "found" / "comparison.json").read_text())
    means = {arm["key"]: arm["mean"] for arm in told["arms"]}
    assert means["pooled"] < means["base"]
    assert (directory / "found" / "comparison.html").exists()


@pytest.mark.slow
def test_json_is_one_object_and_what_is_there_is_not_computed_again(cli, finished, directory):
    written = {path: path.stat().st_mtime_ns for path in (directory / "found" / "outcomes").iterdir()}
    done = cli.run("compare", "recipe.yaml", "--seeds", "1", "--out", "found", "--json", cwd=directory)
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((directory / "found" / "comparison.json").read_text())
    assert "0 to compute" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in (directory / "found" / "outcomes").iterdir()} == written


@pytest.mark.slow
def test_overrides_make_another_comparison(cli, finished, directory):
    done = cli.run("compare", "recipe.yaml", "training.sample_rate=0.2", "--out", "found", cwd=directory)
    assert "found holds a comparison of another recipe" in one_sentence(done)


@pytest.mark.slow
def test_finished_runs_side_by_side(cli, directory):
    for name, rate in (("one", "0.3"), ("two", "0.2")):
        done = cli.run("simulate", "recipe.yaml", f"training.sample_rate={rate}", "--out", name, cwd=directory)
        assert done.status == 0, done.stderr
    done = cli.run("compare", "one", "two", cwd=directory)
    assert done.status == 0, done.stderr
    assert re.search(r"^ training\.sample_rate +0\.3 +0\.2 $", done.stdout, re.MULTILINE)
    done = cli.run("compare", "one", "two", "--json", cwd=directory)
    told = json.loads(done.stdout)
    for run in told["runs"]:
        summary = json.loads((directory / run["directory"] / "summary.json").read_text())
        assert run["heldout_after"] == summary["heldout_loss_after"]
        assert run["adapter_sha256"] == summary["adapter_sha256"]
        assert (run["noise"], run["bytes_up"]) == (0.0, summary["bytes_up"])
    assert [row["field"] for row in told["differences"]] == ["training.sample_rate"]
    # The same records are held out, under the same untrained adapter.
    assert len(told["notes"]) == 1


BAD = {
    "no such recipe": (["nowhere.yaml"], "nowhere.yaml: no such recipe"),
    "an unknown key": (["recipe.yaml", "trainig.x=1"], "did you mean 'training'?"),
    "a run after a recipe": (["recipe.yaml", "found"], "override 'found' is not of the form key.path=value"),
    "an unknown arm": (["recipe.yaml", "--only", "alone-x"], "--only: there is no arm 'alone-x' of this recipe"),
    "one site": (["recipe.yaml", "sites.simulated={a: site-0.jsonl}"], "sites.simulated names 1 sites, sites.minimum"),
    "no sites": (["recipe.yaml", "sites.simulated={}"], "sites.simulated names 0 sites"),
    "no data": (["recipe.yaml", "sites.simulated.site-1=x.jsonl"], "x.jsonl does not exist"),
    "an empty directory": (["empty", "empty"], "no run has started there"),
    "one run": (["empty"], "name two runs or more"),
    "seeds of runs": (["empty", "empty", "--seeds", "2"], "--seeds, --out, --only and --into are for a recipe, and"),
    "an out that is a file": (["recipe.yaml", "--only", "base", "--out", "recipe.yaml"], "recipe.yaml"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_sentence(cli, directory, case):
    (directory / "empty").mkdir(exist_ok=True)
    words, said = BAD[case]
    assert said in one_sentence(cli.run("compare", *words, cwd=directory))


def test_records_that_hold_nothing_out_are_refused(cli, tiny_base, tmp_path):
    recipe = write_federation(tmp_path, tiny_base(), rounds=1)
    own = tmp_path / "site-1.jsonl"
    own.write_text(own.read_text().replace('"heldout"', '"train"'))
    assert "has no held-out records to measure with" in one_sentence(cli.run("compare", recipe, cwd=tmp_path))


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_computed_and_the_command_it_names_goes_on(tiny_base, tmp_path):
    directory = tmp_path / "a directory"
    recipe = write_federation(directory, tiny_base(), rounds=4, **SECTIONS)
    out = tmp_path / "found"
    command = [SEALORA, "compare", recipe, "rounds=3", "--seeds", "1", "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    deadline = time.monotonic() + 180
    while not (out / "outcomes" / "alone-site-0-seed-0.json").exists():
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, stderr = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "Traceback" not in stderr
    assert not (out / "comparison.json").exists()
    kept = {path: path.read_bytes() for path in (out / "outcomes").iterdir()}
    assert len(kept) < len(NAMES)
    (named,) = re.findall(r"To go on:  (.*)", stderr)
    again = shlex.split(named)
    assert again[0] == "sealora"
    done = subprocess.run(
        [SEALORA, *again[1:]], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(NAMES) - len(kept)} to compute" in done.stdout
    assert {path: path.read_bytes() for path in kept} == kept
    assert json.loads((out / "comparison.json").read_text())["rounds"] == 3


@pytest.fixture(scope="module")
def run(cli, directory) -> Path:
    done = cli.run("simulate", "recipe.yaml", "--out", "told", cwd=directory)
    assert done.status == 0, done.stderr
    return directory / "told"


@pytest.mark.slow
def test_what_sites_come_to_alone_is_put_beside_the_run(cli, finished, run, directory):
    before = json.loads((run / "summary.json").read_text())
    assert before["score_site_only"] is None
    assert {site["heldout_loss_alone"] for site in before["sites"]} == {None}
    assert "Alone" not in (run / "report.html").read_text()

    done = cli.run("compare", "recipe.yaml", "--seeds", "1", "--out", "found", "--into", "told", cwd=directory)

    assert done.status == 0, done.stderr
    told = json.loads((directory / "found" / "comparison.json").read_text())
    arms = {arm["key"]: arm for arm in told["arms"]}
    after = json.loads((run / "summary.json").read_text())
    for site in after["sites"]:
        assert site["heldout_loss_alone"] == arms[f"alone-{site['name']}"]["by_site"][site["name"]]
        site["heldout_loss_alone"] = None
    assert after == before, "nothing else of the run's summary is other than it was"
    report = (run / "report.html").read_text()
    assert '<th scope="col">Alone</th>' in report
    for name in ("site-0", "site-1", "site-2"):
        figure = f"{arms[f'alone-{name}']['mean']:.3f}"
        assert f"{name} alone {figure}" in report


@pytest.mark.slow
def test_a_run_of_anything_else_is_left_as_it_is(cli, finished, run, directory):
    before = (run / "summary.json").read_bytes()
    override = "training.sample_rate=0.2"
    done = cli.run("compare", "recipe.yaml", override, "--out", "other", "--into", "told", cwd=directory)
    assert "give the recipe that the run had" in one_sentence(done)
    assert not (directory / "other").exists(), "told before anything is computed"
    command = ("compare", "recipe.yaml", "--seeds", "1", "--out", "found")
    done = cli.run(*command, "--into", "nowhere", cwd=directory)
    assert "no run has started there" in one_sentence(done)
    done = cli.run(*command, "--only", "base", "--into", "told", cwd=directory)
    assert "site-0 was left out by --only" in one_sentence(done)
    assert (run / "summary.json").read_bytes() == before
    (run / "site_only.json").write_text("{")
    try:
        done = cli.run(*command, "--into", "told", cwd=directory)
        assert "site_only.json" in one_sentence(done)
    finally:
        (run / "site_only.json").unlink()
