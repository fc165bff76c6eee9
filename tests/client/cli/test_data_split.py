"""`sealora-site data split`, as a site's operator or a researcher types it."""

from __future__ import annotations

import json
import stat

import pytest
from typer.testing import CliRunner
from untidy_data import write_recipe, write_untidy

from sealora_client.cli import cli
from sealora_client.data.records import read_records
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection


@pytest.fixture
def options(tmp_path) -> list[str]:
    data, recipe = write_untidy(tmp_path / "n.jsonl"), write_recipe(tmp_path / "r.yaml")
    return ["--data", str(data), "--recipe", str(recipe)]


def test_data_is_split_in_a_process_of_its_own_and_a_run_can_use_it(site_cli, tmp_path, options):
    copy = tmp_path / "split.jsonl"
    words = ["--heldout", "0.2", "--by", "patient", "--out", copy]
    done = site_cli.run("data", "split", *options, *words, cwd=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert "of 62 records are held out; which ones is in" in done.stdout
    assert "Note: split before the first run." in done.stdout
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    split = read_records(copy, DataSection(person_field="patient"))
    assert not {record.person for record in split.train} & {record.person for record in split.heldout}
    (told,) = [
        s for s in json.loads((tmp_path / "split.jsonl.changes.json").read_text())["steps"] if s["step"] == "held out"
    ]
    assert sorted(record.line for record in split.heldout) == told["lines"]
    # The leak that the untidy file has is gone.
    checked = CliRunner().invoke(cli, ["data", "check", "--data", str(copy), *options[2:], "--json"])
    assert json.loads(checked.stdout)["likeness"]["leaked"] == 0


def test_strata_are_told_one_by_one(tmp_path, options):
    out = ["--stratify", "split", "--out", str(tmp_path / "split.jsonl")]
    result = CliRunner().invoke(cli, ["data", "split", *options, *out])
    assert result.exit_code == 0, result.output
    assert "split heldout: 1 of 11 records are held out" in result.stdout
    assert "split train: 5 of 51 records are held out" in result.stdout


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "nan"])
def test_a_share_that_is_none_is_refused(tmp_path, options, share):
    result = CliRunner().invoke(
        cli, ["data", "split", *options, "--heldout", share, "--out", str(tmp_path / "s.jsonl")]
    )
    assert isinstance(result.exception, DataError)
    assert "name a share between 0 and 1, for example 0.1" in str(result.exception)
    assert not (tmp_path / "s.jsonl").exists()
