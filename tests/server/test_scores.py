"""A run that is judged by a share: its score, how well that is known, and which example answers are right."""

from __future__ import annotations

import io
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from rich.console import Console

from sealora_common.records.completions import read_completions
from sealora_common.records.share_interval import share_interval
from sealora_server.view.report import render_report
from sealora_server.view.results import print_results
from sealora_server.view.site_only import SITE_ONLY, AloneSite, SiteOnly
from sealora_server.view.summary import summarize

from run_fixture import SITES, loss_at, write_run

EXACT = {"name": "held-out exact match", "unit": "share of records", "better": "higher"}
HELDOUT = 64


def share_at(site: int, trained: int) -> float:
    return 1 - loss_at(site, trained) / 8


def write_scored_run(directory: Path, figure: dict[str, str] = EXACT, *, own_files: bool = True) -> Path:
    """The usual run, judged by a share where that one has losses."""
    write_run(directory, own_files=own_files)
    for path in (directory / "events.jsonl", *directory.glob("sites/*/history.jsonl")):
        lines = [_scored(json.loads(line), figure) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return directory


def _scored(line: dict[str, Any], figure: dict[str, str]) -> dict[str, Any]:
    changed = {
        name: 1 - value / 8 if name.startswith("heldout_loss") and value is not None else value
        for name, value in line.items()
    }
    return changed | ({"heldout": figure} if line.get("event") == "run_started" else {})


def test_the_score_is_the_sites_mean_with_the_interval_of_their_records(tmp_path: Path) -> None:
    summary = summarize(write_scored_run(tmp_path))
    after = [share_at(index, 4) for index in range(3)]
    assert summary.score_metric == "held-out exact match"
    assert summary.score_before == pytest.approx(fmean(share_at(index, 0) for index in range(3)))
    assert summary.score_after == summary.heldout_loss_after == pytest.approx(fmean(after))
    assert summary.score_interval == pytest.approx(share_interval(after, [HELDOUT] * 3))
    assert summary.heldout_loss_change is None


def test_what_sites_come_to_alone_stands_beside_the_score(tmp_path: Path) -> None:
    alone = [AloneSite(name=site, figure=0.3, own_figure=0.75) for site in SITES]
    (tmp_path / SITE_ONLY).write_text(SiteOnly(seeds=(0, 1), sites=tuple(alone)).model_dump_json())
    summary = summarize(write_scored_run(tmp_path))
    assert summary.score_site_only == dict.fromkeys(SITES, 0.3)
    assert {site.heldout_loss_alone for site in summary.sites} == {0.75}
    report = render_report(tmp_path)
    assert report.count("<td>75.0 %</td>") == len(SITES)
    assert f"{SITES[0]} alone 30.0 %" in report
    assert "2 seeds" in report


def test_a_site_that_left_is_neither_in_the_score_nor_in_its_interval(tmp_path: Path) -> None:
    write_scored_run(tmp_path)
    path = tmp_path / "sites" / SITES[2] / "history.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    summary = summarize(tmp_path)
    after = [share_at(index, 4) for index in range(2)]
    assert summary.score_after == pytest.approx(fmean(after))
    assert summary.score_interval == pytest.approx(share_interval(after, [HELDOUT] * 2))


def test_a_site_that_came_later_is_neither_in_the_score_nor_in_its_interval(tmp_path: Path) -> None:
    write_scored_run(tmp_path)
    path = tmp_path / "sites" / SITES[0] / "history.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    summary = summarize(tmp_path)
    after = [share_at(index, 4) for index in (1, 2)]
    assert summary.score_after == pytest.approx(fmean(after))
    assert summary.score_interval == pytest.approx(share_interval(after, [HELDOUT] * 2))


def test_where_the_records_are_not_counted_there_is_no_interval(tmp_path: Path) -> None:
    write_scored_run(tmp_path)
    path = tmp_path / "sites" / SITES[0] / "history.jsonl"
    lines = [{**json.loads(line), "heldout_records": None} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = summarize(tmp_path)
    assert summary.score_after is not None
    assert summary.score_interval is None


def test_a_deployed_run_s_score_has_no_interval_that_only_sites_could_know(tmp_path: Path) -> None:
    summary = summarize(write_scored_run(tmp_path, own_files=False))
    assert summary.score_after is not None
    assert summary.score_interval is None


def test_a_loss_is_no_score(tmp_path: Path) -> None:
    summary = summarize(write_run(tmp_path))
    scores = (summary.score_metric, summary.score_before, summary.score_after, summary.score_interval)
    assert scores == (None, None, None, None)
    assert summary.heldout_loss_change is not None


@pytest.mark.parametrize(("figure", "marked"), [(EXACT, True), (EXACT | {"name": "held-out token accuracy"}, False)])
def test_example_answers_are_right_or_wrong_where_answers_are_what_is_judged(
    tmp_path: Path, figure: dict[str, str], marked: bool
) -> None:
    write_scored_run(tmp_path, figure)
    completions = read_completions(tmp_path)
    assert [completion.is_exact for completion in completions] == [True, True, False]
    page = render_report(tmp_path)
    assert (page.count('<small class="right">'), page.count('<small class="wrong">')) == ((2, 1) if marked else (0, 0))
    console = Console(file=io.StringIO(), width=200)
    print_results(summarize(tmp_path), completions, tmp_path, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert (said.count("  right"), said.count("  wrong")) == ((2, 1) if marked else (0, 0))


def test_the_headline_and_the_report_lead_with_it(tmp_path: Path) -> None:
    summary = summarize(write_scored_run(tmp_path))
    assert summary.score_interval is not None
    score, interval = summary.heldout.text(summary.score_after), summary.heldout.range_text(*summary.score_interval)
    console = Console(file=io.StringIO(), width=300)
    print_results(summary, (), tmp_path, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"-> {score} (95 % interval {interval})" in said
    assert f"95 % interval {interval}" in render_report(tmp_path)
