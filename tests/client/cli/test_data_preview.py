"""`sealora-site data preview`, as a site's operator or a researcher types it."""

from __future__ import annotations

from typer.testing import CliRunner
from untidy_data import clean_rows, write_recipe, write_rows

from sealora_client.cli import cli


def test_records_are_shown_in_a_process_of_its_own_and_again_by_the_seed(site_cli, tmp_path, tiny_base):
    data, recipe = write_rows(tmp_path / "n.jsonl", clean_rows()), write_recipe(tmp_path / "r.yaml", tiny_base())
    words = ["data", "preview", "--data", data, "--recipe", recipe, "-n", "2", "--no-bars"]
    done = site_cli.run(*words, cwd=tmp_path, env={"HF_HUB_OFFLINE": "1", "COLUMNS": "200"})
    assert (done.status, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.count("⟦<|im_start|>⟧user⏎") == 2
    assert "the only place they were shown" in done.stdout
    seed = done.stdout.partition("--seed ")[2].split()[0]
    again = CliRunner(env={"COLUMNS": "200"}).invoke(
        cli, ["data", "preview", "--data", str(data), "--recipe", str(recipe), "-n", "2", "--no-bars", "--seed", seed]
    )
    assert again.exit_code == 0
    heads = [line for line in done.stdout.splitlines() if line.startswith("line ")]
    assert len(heads) == 2
    assert [line for line in again.stdout.splitlines() if line.startswith("line ")] == heads


def test_one_line_can_be_asked_for(tmp_path, tiny_base):
    data, recipe = write_rows(tmp_path / "n.jsonl", clean_rows()), write_recipe(tmp_path / "r.yaml", tiny_base())
    result = CliRunner(env={"COLUMNS": "250"}).invoke(
        cli, ["data", "preview", "--data", str(data), "--recipe", str(recipe), "--line", "7", "--no-bars"]
    )
    assert result.exit_code == 0, result.output
    assert clean_rows()[6]["prompt"] in result.stdout
    assert "--seed" not in result.stdout
