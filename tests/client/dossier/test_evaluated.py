"""The site's own evaluation in its part of a dossier: figures that can be traced to the file, by groups too."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "federation"))

from keyed import KeyedGridInline, keyed_run

from sealora_client.cli import cli
from sealora_client.delivery.kept_run import KeptRun
from sealora_client.dossier.part import HandedIn, write_part
from sealora_common.dossier.directory import read_signed
from sealora_common.dossier.site_part import SitePart
from sealora_common.errors import StorageError
from sealora_server.app import serve
from sealora_server.run.store import RunStore

from kept_site import questions, write_records
from tiny_federation import PRIVATE, typed


@pytest.fixture(scope="module")
def run(tiny_base, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("evaluated")
    directory = keyed_run(home, tiny_base(), privacy=PRIVATE)
    serve(KeyedGridInline.over(directory), directory)
    newer = write_records(home / "newer.jsonl", questions(22, sex=["f", "m"]))
    said = typed(
        cli, "evaluate", "--directory", directory / "sites" / "site-1", "--data", newer, "--by", "sex", "--tokens", "4"
    )
    assert "by sex:" in said
    return directory


@pytest.fixture
def kept(run, tmp_path) -> KeptRun:
    site = Path(shutil.copytree(run / "sites" / "site-1", tmp_path / "site"))
    return KeptRun(site, RunStore.open(run).run_id)


def part_of(kept: KeptRun, out: Path) -> SitePart:
    return write_part(kept.site, kept.run, out, HandedIn())[0]


def test_every_figure_of_it_is_that_of_the_file_at_its_place(kept, tmp_path) -> None:
    part = part_of(kept, tmp_path / "part")
    _, files = read_signed(tmp_path / "part")
    whole = json.loads(files["evidence/evaluation.json"])
    assert files["evidence/evaluation.json"] == (kept.directory / "evaluation.json").read_bytes()
    found = {section.identifier: section for section in part.sections}
    figures = [*found["evaluated"].figures, *found["groups"].figures]
    for figure in figures:
        value = whole
        for step in figure.source.field.split("/")[1:]:
            value = value[int(step)] if step.isdigit() else value[step]
        assert (figure.source.file, figure.value) == ("evidence/evaluation.json", value)
    named = {figure.name: figure.value for figure in figures}
    assert named["records evaluated"] == 22
    assert named["sex f: records"] == named["sex m: records"] == 11
    assert {
        "exact match, adapter",
        "exact match, base model",
        "loss, adapter less base model",
        "sex f: exact match, adapter",
    } <= set(named)
    assert named["largest difference in exact match by sex, within the intervals"] is True
    audit = " ".join(found["audit"].text)
    assert "results by sex stand under the site's own evaluation" in audit
    assert "nothing was measured apart" not in audit
    page = (tmp_path / "part" / "part.html").read_text()
    assert "Evaluated by groups" in page


def test_without_one_the_part_says_what_would_tell_of_groups(kept, tmp_path) -> None:
    (kept.directory / "evaluation.json").unlink()
    part = part_of(kept, tmp_path / "part")
    found = {section.identifier: section for section in part.sections}
    assert not {"evaluated", "groups"} & set(found)
    assert "nothing was measured apart for groups of people" in " ".join(found["audit"].text)
    assert "`sealora-site evaluate --by COLUMN` does" in " ".join(found["audit"].text)


@pytest.mark.parametrize(
    "change",
    [{"run": "ee" * 16}, {"site": "site-2"}, {"recipe_hash": "0" * 64}, {"adapter_digest": "0" * 64}, {"by": 3}],
)
def test_one_of_something_else_is_refused_and_leaves_no_part(kept, tmp_path, change) -> None:
    path = kept.directory / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(StorageError, match="delete it, and `sealora-site evaluate` writes it again"):
        part_of(kept, tmp_path / "part")
    assert not (tmp_path / "part").exists()
