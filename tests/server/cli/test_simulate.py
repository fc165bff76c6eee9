"""`sealora simulate` as a person meets it: a whole run, every kind of bad input, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from peft import PeftModel

from quick_cases import quick_cases
from sealora_client.data.load import load_data
from sealora_client.evaluation.heldout_loss import heldout_loss
from sealora_client.model.adapted import AdaptedModel
from sealora_client.model.adapters.choice import attachment
from sealora_client.objective.causal import CausalLanguageModelling

from cli_server import Done
from tiny_federation import PRIVATE, adapter_of, events_of, prepare_run, recipe_of, write_federation
from tiny_models import make_tiny_model

SEALORA = Path(sys.executable).with_name("sealora")


@pytest.fixture
def recipe(tiny_base, tmp_path) -> Path:
    return write_federation(tmp_path, tiny_base(), rounds=1)


@pytest.fixture(scope="module")
def finished(cli, tiny_base, tmp_path_factory) -> tuple[Path, Done]:
    """A whole run, and what the command said."""
    directory = tmp_path_factory.mktemp("finished")
    recipe = write_federation(directory, tiny_base(), privacy=PRIVATE, training={"learning_rate": 0.05})
    done = cli.run("simulate", recipe, "training.steps_per_round=2", "--out", "run", cwd=directory)
    assert done.status == 0, done.stderr
    return directory / "run", done


def test_a_run_leaves_a_summary_with_every_figure(finished):
    run, _ = finished
    summary = json.loads((run / "summary.json").read_text())
    wanted = {"rounds", "heldout_loss_before", "heldout_loss_after", "sites", "adapter_sha256", "seconds"}
    assert wanted <= set(summary)
    assert summary["rounds"] == 2
    assert summary["status"] == "finished"
    assert summary["seconds"] > 0
    assert [site["name"] for site in summary["sites"]] == ["site-0", "site-1", "site-2"]
    for number, site in enumerate(summary["sites"]):
        assert 0 < site["epsilon"] <= PRIVATE["epsilon"]
        assert site["delta"] == PRIVATE["delta"]
        assert (site["records"], site["heldout_records"]) == (24 + number, 4)
        assert site["bytes_up"] > 0
        assert site["bytes_down"] > 0
        assert site["heldout_loss_before"] != site["heldout_loss_after"]
    losses = [site["heldout_loss_after"] for site in summary["sites"]]
    assert summary["heldout_loss_after"] == pytest.approx(sum(losses) / 3)


def test_the_summary_s_digest_is_that_of_the_published_adapter(finished):
    import hashlib

    run, _ = finished
    weights = (run / "adapter" / "adapter_model.safetensors").read_bytes()
    assert json.loads((run / "summary.json").read_text())["adapter_sha256"] == hashlib.sha256(weights).hexdigest()


def test_the_sites_figures_are_from_the_sites_own_files(finished):
    run, _ = finished
    for site in json.loads((run / "summary.json").read_text())["sites"]:
        lines = [json.loads(line) for line in (run / "sites" / site["name"] / "history.jsonl").open()]
        assert site["heldout_loss_before"] == lines[0]["heldout_loss"]
        assert site["epsilon"] == lines[-1]["epsilon"]
        assert site["bytes_up"] == sum(line["bytes_up"] for line in lines)


def test_the_adapter_loads_with_plain_peft_and_gives_the_same_held_out_loss(finished, tiny_base):
    run, _ = finished
    recipe = recipe_of(run)
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base())
    model = PeftModel.from_pretrained(base, run / "adapter").eval()
    reported = {site["name"]: site for site in json.loads((run / "summary.json").read_text())["sites"]}
    for name, data in recipe.sites.simulated.items():
        adapted = AdaptedModel(model, attachment(recipe).tensors(model), tokenizer, "")
        heldout = load_data(Path(data), recipe, adapted).heldout
        examples = [example for unit in heldout.units for example in unit]
        assert reported[name]["heldout_loss_after"] == pytest.approx(plain_loss(model, examples), abs=1e-3)
        with model.disable_adapter():
            assert reported[name]["heldout_loss_before"] == pytest.approx(plain_loss(model, examples), abs=1e-3)
        own = heldout_loss(adapted, CausalLanguageModelling(), heldout, 8).mean
        assert reported[name]["heldout_loss_after"] == pytest.approx(own, abs=1e-3)


def plain_loss(model, examples) -> float:
    """One example at a time, as the textbook has it."""
    nll, count = 0.0, 0
    for example in examples:
        tokens = torch.from_numpy(example.tokens.astype("int64"))[None]
        with torch.no_grad():
            logits = model(input_ids=tokens).logits[0, example.prompt_length - 1 : -1]
        target = tokens[0, example.prompt_length :]
        nll += float(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
        count += len(target)
    return nll / count


def test_the_adapter_names_its_base_and_moved(finished, tiny_base):
    run, _ = finished
    configuration = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert configuration["base_model_name_or_path"] == str(tiny_base())
    moved = [abs(value).max() for name, value in adapter_of(run).items() if name.endswith("lora_B.weight")]
    assert min(moved) > 0


def test_there_is_a_report_that_needs_nothing_from_elsewhere(finished):
    run, _ = finished
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "<svg" in report
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", report)


def test_six_examples_before_and_after_are_kept(finished):
    run, _ = finished
    completions = json.loads((run / "completions.json").read_text())
    assert [sorted(entry) for entry in completions] == [["after", "before", "prompt", "reference", "site"]] * 6
    assert {entry["site"] for entry in completions} == {"site-0", "site-1", "site-2"}


def test_without_a_terminal_progress_is_plain_lines_and_errors_are_none(finished):
    _, done = finished
    assert "\x1b" not in done.stdout
    assert "round 2" in done.stdout
    assert "summary.json" in done.stdout
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def one_sentence(done: Done) -> str:
    """The error, if it is as it should be: one line on stderr, nothing else there, exit status 1."""
    assert done.status == 1, (done.status, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in done.stdout + done.stderr
    return lines[0]


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def break_a_line(directory: Path) -> list[str]:
    path = directory / "site-1.jsonl"
    path.write_text("".join([*lines_of(path)[:6], "{not json\n", *lines_of(path)[6:]]))
    return []


def empty_a_file(directory: Path) -> list[str]:
    (directory / "site-2.jsonl").write_text("\n\n")
    return []


def keep_one_site(directory: Path) -> list[str]:
    return [f"sites.simulated={{site-0: {directory}/site-0.jsonl}}"]


def no_delta(directory: Path) -> list[str]:
    return ["privacy.mechanism=local", "privacy.delta=0.5"]


def spoil_the_yaml(directory: Path) -> list[str]:
    (directory / "recipe.yaml").write_text("name: a\n  rounds: [1\n")
    return []


def open_a_block_of_reasoning(directory: Path) -> list[str]:
    base = make_tiny_model(directory / "thinking")
    template = base / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant\n", "assistant\n<think>\n"))
    return [f"model.base={base}"]


BAD = {
    "a missing data file": (
        lambda directory: ["sites.simulated.site-1=missing.jsonl"],
        "missing.jsonl does not exist: check the path of this site's records",
    ),
    "a line that is not JSON": (break_a_line, "site-1.jsonl, line 7: not JSON"),
    "an empty data set": (empty_a_file, "site-2.jsonl has no records"),
    "an unknown recipe key": (
        lambda directory: ["training.learning_rat=1"],
        "recipe.yaml: training.learning_rat: unknown key, did you mean 'learning_rate'?",
    ),
    "an unknown section": (lambda directory: ["trainig.steps=1"], "did you mean 'training'?"),
    "a base model that is not there": (
        lambda directory: ["model.base=./no-such-model"],
        "model.base: there is no directory './no-such-model'",
    ),
    "a directory that is no model": (lambda directory: [f"model.base={directory}"], "has no config.json"),
    "a template that opens a block of reasoning": (
        open_a_block_of_reasoning,
        "thinking opens a block of reasoning before the response, which would be learned as reasoning: use another",
    ),
    "an epsilon of 0": (
        lambda directory: ["privacy.epsilon=0"],
        "recipe.yaml: privacy.epsilon: 0 will not do: input should be greater than 0",
    ),
    "an epsilon that is not a number": (lambda directory: ["privacy.epsilon=.nan"], "privacy.epsilon: nan will not do"),
    "a delta above one in N": (no_delta, "site 'site-0': privacy.delta is 0.5 but must be below 1 / 24"),
    "fewer sites than the minimum": (
        keep_one_site,
        "sites.simulated names 1 sites, sites.minimum is 3: add sites or lower the minimum",
    ),
    "an override without a value": (
        lambda directory: ["rounds"],
        "override 'rounds' is not of the form key.path=value",
    ),
    "an override that is not YAML": (lambda directory: ["rounds=["], "override 'rounds=[': the value is not YAML"),
    "an override into a value": (lambda directory: ["rounds.x=1"], "'rounds' is a value, not a section"),
    "a number that is text": (lambda directory: ["rounds=many"], "recipe.yaml: rounds: 'many' will not do"),
    "a cluster for an engine without one": (
        lambda directory: ["--ray-address", "head:6379"],
        "the sites run without it: add --engine ray",
    ),
    "a cluster's client server": (
        lambda directory: ["--engine", "ray", "--ray-address", "ray://head:10001"],
        "a simulation is no client of a cluster, but runs on one of its machines",
    ),
    "a recipe that is not YAML": (spoil_the_yaml, "recipe.yaml, line 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_sentence_and_writes_nothing(cli, recipe, tmp_path, case):
    spoil, said = BAD[case]
    done = cli.run("simulate", recipe, *spoil(tmp_path), "--out", "run", cwd=tmp_path)
    assert said in one_sentence(done)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_target_layer_that_is_not_there(cli, recipe, tmp_path):
    done = cli.run("simulate", recipe, "lora.target_modules=[nope]", "--out", "run", cwd=tmp_path)
    assert "the base model has no linear layer 'nope': choose from down_proj" in one_sentence(done)


def test_a_recipe_that_is_not_there(cli, tmp_path):
    done = cli.run("simulate", "nothing.yaml", cwd=tmp_path)
    assert one_sentence(done) == "Error: nothing.yaml: no such recipe: give the path of a YAML file, see configs/"


@pytest.mark.slow
def test_a_run_is_not_overwritten(cli, recipe, finished):
    run, _ = finished
    before = (run / "summary.json").read_bytes()
    done = cli.run("simulate", recipe, "--out", run, cwd=recipe.parent)
    assert "holds a run already: choose another --out, add --resume" in one_sentence(done)
    assert (run / "summary.json").read_bytes() == before


@pytest.mark.slow
def test_nothing_to_resume(cli, recipe, tmp_path):
    done = cli.run("simulate", recipe, "--out", "run", "--resume", cwd=tmp_path)
    assert "run holds no run to resume: leave --resume out to start one" in one_sentence(done)


@pytest.mark.slow
def test_resuming_another_recipe_s_run(cli, recipe, finished, tmp_path):
    run, _ = finished
    done = cli.run("simulate", recipe, "--out", run, "--resume", cwd=tmp_path)
    assert "holds a run of another recipe" in one_sentence(done)


@pytest.mark.slow
def test_an_out_that_is_a_file(cli, recipe, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write file" in one_sentence(cli.run("simulate", recipe, "--out", "file", cwd=tmp_path))


@pytest.mark.parametrize("room", quick_cases(["40k", "112k", "184k"], "112k"))
def test_a_full_disk(cli, tiny_base, tmp_path, room):
    """At whatever file the disk is full: one sentence, and the run goes on when there is space again."""
    recipe = write_federation(tmp_path, tiny_base(), rounds=1, privacy=PRIVATE)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        done = cli.run("simulate", recipe, "--out", "disk/run", "rounds=2", cwd=tmp_path)
        # A site's own trouble stays in its own log, as in a deployment; that is where the run says to look.
        said = one_sentence(done)
        assert "the disk is full: free some space" in said or "its own log says why" in said
        subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
        resume = ["--resume"] if (disk / "run" / "run.json").exists() else []
        again = cli.run("simulate", recipe, "--out", "disk/run", "rounds=2", *resume, cwd=tmp_path)
        assert again.status == 0, again.stderr
        assert json.loads((disk / "run" / "summary.json").read_text())["rounds_finished"] == 2
    finally:
        subprocess.run(["umount", disk], check=True)


def interrupted_process(*arguments: object, cwd: Path, when: Callable[[], bool]) -> Done:
    """As `CliServer.interrupted`, of the program as it is installed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [SEALORA, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=cwd
    )
    deadline = time.monotonic() + 90
    while not when():
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    stdout, stderr = started.communicate(timeout=30)
    return Done(started.returncode, stdout, stderr)


@pytest.mark.parametrize("how", quick_cases(["forked", "as it is installed"], "forked"))
def test_ctrl_c_stops_cleanly_and_the_command_it_names_goes_on(cli, tiny_base, tmp_path, how):
    directory = tmp_path / "a directory"
    recipe = write_federation(directory, tiny_base(), rounds=40, privacy=PRIVATE, training={"steps_per_round": 2})
    overrides = ["rounds=9", "lora.target_modules=[q_proj, v_proj]"]
    run = tmp_path / "my run"
    interrupt = cli.interrupted if how == "forked" else interrupted_process
    second_round = run / "rounds" / "0002" / "round.json"
    stopped = interrupt("simulate", recipe, *overrides, "--out", run, cwd=tmp_path, when=second_round.exists)
    stderr = stopped.stderr
    assert stopped.status == 130, stopped
    assert "Traceback" not in stderr
    assert "Stopped. Finished rounds are kept." in stderr
    assert f"rm -r {shlex.quote(str(run))}" in stderr
    assert len(events_of(run, "run_interrupted")) == 1
    stored = len(list((run / "rounds").glob("*/round.json")))
    assert 2 <= stored < 9

    (named,) = re.findall(r"To go on:  (.*)", stderr)
    again = shlex.split(named)
    assert again[0] == "sealora"
    done = cli.run(*again[1:], cwd=tmp_path)
    assert done.status == 0, done.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["rounds_finished"]) == ("finished", 9)
    assert [event.first_round for event in events_of(run, "run_started")] == [1, stored + 1]


@pytest.mark.slow
def test_what_a_site_does_not_tell_the_server_stands_in_the_sites_log(cli, tiny_base, tmp_path):
    recipe = write_federation(tmp_path, tiny_base(), rounds=1, privacy=PRIVATE)
    run = tmp_path / "run"
    prepare_run(recipe, run)
    for site in (run / "sites").glob("*/"):
        (site / "ledger.sqlite").write_bytes(b"no ledger at all, but long enough to be looked at" * 40)
    done = cli.run("simulate", recipe, "--out", run, "--resume", cwd=tmp_path)
    assert "the site takes no part in this; its own log says why" in one_sentence(done)
    assert f"What the sites' own logs say: {run / 'sites.log'}" in done.stdout
    assert "it is not a ledger" in (run / "sites.log").read_text()
