"""A run's report with what a comparison measured of its recipe, by the command a researcher types."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sealora_common.errors import StorageError
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_server.cli import cli
from sealora_server.comparison.comparison import ArmFigures, ComparedSite, Comparison
from sealora_server.view.report import rewrite_report
from sealora_server.view.side_by_side import side_by_side
from sealora_server.view.summary import summarize

from run_fixture import SITES, write_run
from tiny_federation import typed


def arm(kind: str, key: str, figures: tuple[float, ...]) -> ArmFigures:
    return ArmFigures(
        kind=kind,  # type: ignore[arg-type]
        key=key,
        title=key,
        what="",
        sample_rate=None,
        drawn=0,
        rounds=(),
        seeds=(0,),
        figures=(sum(figures) / 3,),
        mean=sum(figures) / 3,
        spread=None,
        interval=None,
        by_site=dict(zip(SITES, figures, strict=True)),
        epsilon=None,
        delta=None,
        seconds=1,
    )


ARMS = (
    arm("alone", f"alone-{SITES[0]}", (2.0, 4.0, 4.5)),
    arm("alone", f"alone-{SITES[1]}", (4.0, 2.1, 4.0)),
    arm("alone", f"alone-{SITES[2]}", (5.0, 5.0, 2.2)),
    arm("federated", "federated", (2.5, 2.6, 2.7)),
    arm("base", "base", (5.5, 5.6, 5.7)),
)


def comparison(recipe_hash: str) -> Comparison:
    return Comparison(
        recipe="demo",
        recipe_hash=recipe_hash,
        base_model="m",
        unit="record",
        mechanism="local",
        rounds=1,
        steps_per_round=1,
        heldout=HeldoutFigure(),
        sites=tuple(ComparedSite(name=name, units=10, heldout_units=4) for name in SITES),
        seeds=(0,),
        arms=ARMS,
        margin=None,
        share_of_way=None,
        notes=(),
    )


def compare(directory: Path, recipe_hash: str) -> Path:
    directory.mkdir()
    (directory / "comparison.json").write_text(comparison(recipe_hash).model_dump_json())
    return directory


def test_each_site_stands_with_itself_alone_and_all_sites_with_the_best_of_them() -> None:
    table = side_by_side(comparison("ab"))
    assert table.heads == ("Base model", "Each site alone, without privacy", "Together, private")
    assert table.rows[1] == (SITES[1], ("5.600", "2.100", "2.600"))
    assert table.mean == ("5.600", "3.367", "2.600")  # the second site's: a loss, and the least
    assert table.sentence is None


def test_the_command_writes_the_report_anew_and_keeps_what_was_worked_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    summary = json.loads(summarize(run).model_dump_json()) | {"epsilon_at_two_sites": 12.5}
    (run / "summary.json").write_text(json.dumps(summary))
    measured = compare(tmp_path / "worth", summarize(run).recipe_hash)
    assert str(run / "report.html") in typed(cli, "report", run, "--comparison", measured).replace("\n", "")
    page = re.sub(r"<[^>]*>", " ", (run / "report.html").read_text())
    assert "Was joining worth it?" in page
    assert "Each site alone, without privacy" in page
    assert "Records in one place" not in page
    assert "promised ε ≤ 12.5" in page
    typed(cli, "report", run)
    assert "Was joining worth it?" not in (run / "report.html").read_text()


def test_what_is_of_another_recipe_or_no_comparison_is_refused_in_a_sentence(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with pytest.raises(StorageError, match="and the run is of"):
        rewrite_report(run, compare(tmp_path / "other", "cd" * 32))
    with pytest.raises(StorageError, match="give what `sealora compare RECIPE --out` wrote"):
        rewrite_report(run, tmp_path)
    (tmp_path / "other" / "comparison.json").write_text("{}")
    with pytest.raises(StorageError, match="compare anew"):
        rewrite_report(run, tmp_path / "other")
    assert not (run / "report.html").exists()


def test_a_deployed_run_s_report_takes_no_exact_figures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", own_files=False)
    with pytest.raises(StorageError, match="is a deployed run"):
        rewrite_report(run, compare(tmp_path / "worth", summarize(run).recipe_hash))
