"""`sealora-site chat` and `export`, and `sealora export`, as they are typed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[2] / "server"))

from sealora_client.cli import cli
from sealora_client.model.adapted import AdaptedModel
from sealora_common.adapter import adapter_kind
from sealora_common.errors import PolicyError, SealoraError
from sealora_common.export.peft_directory import WEIGHTS, PeftDirectory
from sealora_common.records.outcome import read_outcome
from sealora_server.cli import cli as server_cli
from sealora_server.view.outcome import write_outcome

from adapter_kinds import made_up_adapter
from run_fixture import write_run
from single_examples import recipe_for
from tiny_federation import typed


@pytest.fixture(scope="module")
def run(tiny_base, tmp_path_factory) -> Path:
    """A run's directory, as a simulation leaves it."""
    directory = tmp_path_factory.mktemp("trained") / "run"
    recipe = recipe_for(tiny_base())
    model = AdaptedModel.load(recipe)
    write_run(directory)
    write_outcome(directory)
    kind, made_up = adapter_kind(recipe), made_up_adapter(model, recipe, std=0.3)
    trained = {name: made_up[name] for name in kind.shared(model.layout).names}
    PeftDirectory().export(directory / "adapter", kind.initial(model.layout) | trained, recipe)
    (directory / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    return directory


def asked(*words: object, piped: str | None = None) -> tuple[str, str]:
    """What the command said, on both outputs."""
    result = CliRunner().invoke(cli, ["chat", *map(str, words)], input=piped)
    if result.exception is not None:
        raise result.exception
    return result.stdout, result.stderr


def test_a_prompt_is_answered_and_it_is_said_by_what(run):
    answer, said = asked(run, "--prompt", "What is 3?", "--tokens", "8")
    assert "run 20260610-091 (" in said
    assert "of round 4, on base model" in said
    assert said.rstrip().endswith("answers are greedy")
    assert asked(run, "--prompt", "What is 3?", "--tokens", "8")[0] == answer


def test_each_piped_line_is_a_prompt_of_its_own(run):
    told, _ = asked(run, "--json", "--tokens", "8", piped="What is 3?\n\n  \nWhat is 4?")
    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["prompt"] for line in lines] == ["What is 3?", "What is 4?"]
    alone, _ = asked(run, "--json", "--tokens", "8", "--prompt", "What is 4?")
    assert json.loads(alone) == lines[1]


def test_what_is_drawn_says_so(run):
    first, said = asked(run, "--prompt", "What is 3?", "--temperature", "1.5", "--seed", "7", "--tokens", "8")
    assert "drawn at temperature 1.5, seed 7" in said
    assert asked(run, "--prompt", "What is 3?", "--temperature", "1.5", "--seed", "7", "--tokens", "8")[0] == first


def test_both_commands_export_the_same(run, tmp_path):
    assert "an adapter for PEFT" in typed(cli, "export", run, "--out", tmp_path / "site")
    assert "an adapter for PEFT" in typed(server_cli, "export", run, "--out", tmp_path / "server")
    site, server = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("site", "server")
    )
    assert site == server
    assert site[WEIGHTS] == (run / "adapter" / WEIGHTS).read_bytes()
    card = site["README.md"].decode()
    assert "exact means over the sites of a simulation" in card
    assert "| sites | 3 |" in card


def test_the_card_reads_from_the_summary_what_the_server_wrote(run):
    outcome = read_outcome(run)
    assert (outcome.rounds_finished, outcome.kept_round, len(outcome.sites), outcome.is_exact) == (4, 4, 3, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chat", "--directory", "."], "no run's adapter is here yet"),
        (["chat", "nothing", "--directory", "."], "no run's adapter is here yet"),
        (["chat", "."], "holds no run that has ended"),
        (["export", "--out", "x"], "no run's adapter is here yet"),
    ],
)
def test_what_is_not_here_is_one_sentence(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyError, match=said):
        typed(cli, *words)


def test_the_server_s_command_names_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(SealoraError, match="there is no such directory: give a run's"):
        typed(server_cli, "export", tmp_path / "none", "--out", tmp_path / "x")
