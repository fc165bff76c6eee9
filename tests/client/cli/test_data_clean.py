"""`sealora-site data clean`, as a site's operator or a researcher types it."""

from __future__ import annotations

import json
import stat

import pytest
from typer.testing import CliRunner
from untidy_data import write_recipe, write_untidy

from sealora_client.cli import cli
from sealora_client.data.records import read_records
from sealora_common.errors import StorageError
from sealora_common.recipe.sections.data import DataSection


@pytest.fixture
def options(tmp_path) -> list[str]:
    data, recipe = write_untidy(tmp_path / "n.jsonl"), write_recipe(tmp_path / "r.yaml")
    return ["--data", str(data), "--recipe", str(recipe)]


def test_a_copy_is_cleaned_in_a_process_of_its_own_and_a_run_can_use_it(site_cli, tmp_path, options):
    before = (tmp_path / "n.jsonl").read_bytes()
    steps = ["--mojibake", "--normalize", "--trim", "--redact", "all", "--country", "de", "--near", "--longest", "1000"]
    command = ["data", "clean", *options, *steps, "--out", tmp_path / "copy.jsonl"]
    done = site_cli.run(*command, cwd=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert (tmp_path / "n.jsonl").read_bytes() == before
    for words in (
        "replaced: PHONE_NUMBER: 1 records, 2 places",
        "left out: exact copy: 1 records",
        "left out: nearly the same: 2 records",
        "left out: length: 1 records",
        "58 of 62 records",
        "clean BEFORE the first run on this data, and never after.",
    ):
        assert words in done.stdout
    assert "there is a ledger" not in done.stdout
    split = read_records(tmp_path / "copy.jsonl", DataSection())
    assert len(split.train) + len(split.heldout) == 58
    listed = json.loads((tmp_path / "copy.jsonl.changes.json").read_text())
    assert {step["step"]: step["lines"] for step in listed["steps"]}["mojibake mended"] == [57]
    for name in ("copy.jsonl", "copy.jsonl.changes.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    again = site_cli.run(*command, cwd=tmp_path)
    assert again.status == 1
    assert again.stderr.startswith(f"Error: {tmp_path / 'copy.jsonl'}: is there already, and nothing is overwritten")


def test_the_data_itself_is_never_written_to(tmp_path, options):
    before = (tmp_path / "n.jsonl").read_bytes()
    result = CliRunner().invoke(cli, ["data", "clean", *options, "--trim", "--out", str(tmp_path / "n.jsonl")])
    assert isinstance(result.exception, StorageError)
    assert (tmp_path / "n.jsonl").read_bytes() == before


def test_where_there_is_a_ledger_the_warning_is_louder(tmp_path, options):
    (tmp_path / "ledger.sqlite").touch()
    out = ["--directory", str(tmp_path), "--out", str(tmp_path / "copy.jsonl")]
    result = CliRunner().invoke(cli, ["data", "clean", *options, "--trim", *out])
    assert result.exit_code == 0, result.output
    assert f"there is a ledger in {tmp_path}: if this data was ever charged" in result.stdout
