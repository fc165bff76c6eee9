"""`sealora-site data check`, as a site's operator or a researcher types it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner
from untidy_data import SECRET_WORDS, clean_rows, write_recipe, write_rows, write_untidy

from sealora_client.cli import cli


def run(*arguments: object):
    result = CliRunner().invoke(cli, ["data", "check", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def site(tmp_path, tiny_base) -> Path:
    (tmp_path / "site.yaml").write_text(yaml.safe_dump({"name": "a", "data": "notes.jsonl", "coordinator": "ab" * 32}))
    write_recipe(tmp_path / "recipe.yaml", tiny_base())
    write_untidy(tmp_path / "notes.jsonl")
    return tmp_path


@pytest.mark.slow
def test_a_site_is_told_everything_in_a_process_of_its_own(site_cli, site):
    words = ["data", "check", "--directory", site, "--html", site / "report.html"]
    done = site_cli.run(*words, cwd=site, env={"HF_HUB_OFFLINE": "1", "NO_COLOR": "1"})
    assert done.status == 0, done.stderr
    assert done.stderr == ""
    for told in (done.stdout, (site / "report.html").read_text()):
        for words in ("Records and units of privacy", "tokens of examples", "PHONE_NUMBER", "mojibake", "(line 53)"):
            assert words in told
        assert not [word for word in SECRET_WORDS if word in told]
        assert "none of it is sent anywhere" in told
    assert "\nA run can use this data; look into " in done.stdout
    assert stat.S_IMODE((site / "report.html").stat().st_mode) == 0o600


def test_a_program_gets_json(site):
    result = run("--directory", site, "--json")
    told = json.loads(result.stdout)
    assert told["copies"] == 1
    assert told["problems"] == []
    assert told["likeness"]["leaked"] == 1


def test_strict_fails_for_remarks_and_problems_fail_always(site):
    assert run("--directory", site).exit_code == 0
    assert run("--directory", site, "--strict").exit_code == 1
    write_rows(site / "bad.jsonl", [*clean_rows(), {"prompt": "x"}])
    result = run("--directory", site, "--data", site / "bad.jsonl")
    assert result.exit_code == 1
    assert 'line 51: the field "response" is missing' in result.stdout
    assert "A run would stop at this data: 1 problem." in result.stdout


def test_a_researcher_needs_a_file_and_a_recipe_and_strict_passes_what_is_clean(tmp_path):
    rows = [row | {"split": "heldout" if place % 5 < 3 else "train"} for place, row in enumerate(clean_rows())]
    data = write_rows(tmp_path / "notes.jsonl", rows)
    recipe = write_recipe(tmp_path / "r.yaml")
    result = run("--data", data, "--recipe", recipe, "--strict")
    assert result.exit_code == 0, result.stdout
    assert "A run can use this data, and nothing odd was found in it." in result.stdout


def test_what_is_wrong_with_the_options_is_one_sentence(site_cli, tmp_path):
    for arguments, said in (
        (["--data", "x.jsonl"], "name a recipe with --recipe"),
        (["--data", "x.jsonl", "--recipe", "no.yaml"], "no such recipe"),
    ):
        done = site_cli.run("data", "check", *arguments, cwd=tmp_path)
        assert done.status == 1
        assert done.stderr.startswith("Error: ")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
