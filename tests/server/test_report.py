from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from sealora_common.errors import StorageError
from sealora_common.records.events import TurnedAway
from sealora_server.view.report import render_report, write_report

from run_fixture import SITES, write_run


class Page(HTMLParser):
    """Collects what the tests ask of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "br", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_holds_the_facts(tmp_path: Path) -> None:
    page = write_report(write_run(tmp_path)).read_text()

    for fact in ("demo-icd10", "7.93", "5.553", "2.722", "ab12" * 16, "20260610-091502-7c1e", *SITES):
        assert fact in page
    assert "Who would see what" in page
    assert "whether any one record was trained on, up to epsilon 8 and delta 1e-05 at each site" in page
    assert "about 2,800" in page


@pytest.mark.parametrize(
    "kind",
    [{}, {"own_files": False}, {"mechanism": "none"}, {"stop_after": 0}, {"stop_after": 2, "with_trouble": True}],
)
def test_the_report_of_every_kind_of_run_is_well_formed_and_needs_nothing_else(
    tmp_path: Path, kind: dict[str, object]
) -> None:
    text = render_report(write_run(tmp_path, **kind))  # type: ignore[arg-type]
    page = Page(text)

    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"}
    assert not [attrs for _, attrs in page.tags if {"src", "href", "action"} & set(attrs)]
    assert not re.search(r"url\(|@import|https?:", text)
    assert "nan" not in re.findall(r'[ (][xdy]="([^"]*)"', text)


def test_what_a_model_wrote_is_shown_and_never_run(tmp_path: Path) -> None:
    page = render_report(write_run(tmp_path))

    assert "&lt;script&gt;alert(" in page
    assert "<script" not in page


def test_every_chart_says_in_words_what_it_shows(tmp_path: Path) -> None:
    page = Page(render_report(write_run(tmp_path)))

    charts = [attrs for tag, attrs in page.tags if tag == "svg"]  # a curve, a budget, bars; who sees what, twice
    ids = {attrs.get("id") for _, attrs in page.tags}
    assert len(charts) == 5
    for attrs in charts:
        assert attrs["role"] == "img"
        assert set((attrs["aria-labelledby"] or "").split()) <= ids


def test_a_run_without_privacy_or_with_seeded_noise_says_so_loudly(tmp_path: Path) -> None:
    write_run(tmp_path / "open", mechanism="none")
    assert "do not hand it out" in render_report(tmp_path / "open")

    write_run(tmp_path / "seeded")
    log = tmp_path / "seeded" / "events.jsonl"
    log.write_text(log.read_text().replace('"insecure":false', '"insecure":true'))
    assert "nothing of this run is private" in render_report(tmp_path / "seeded")


def test_a_recipe_this_version_cannot_read_is_shown_as_written(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: <later>\nfrom_the_future: 1\n")

    assert "name: &lt;later&gt;\nfrom_the_future: 1" in render_report(tmp_path)


def test_who_took_no_part_stands_in_the_report_as_text(tmp_path: Path) -> None:
    away = TurnedAway(site="clinic-east", node=7, reason="<script>no budget")
    page = render_report(write_run(tmp_path, turned_away=(away,), missing=("clinic-west",)))

    assert "clinic-east took no part (&lt;script&gt;no budget)" in page
    assert "Missing: clinic-west" in page
    assert "Every site answered in every stage" not in page


def test_no_run_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no run has started there"):
        write_report(tmp_path)


def test_the_promise_names_its_unit_and_what_is_left_to_somebody_at_two_sites(tmp_path: Path) -> None:
    run = write_run(tmp_path)

    def text_of(page: str) -> str:
        return re.sub(r"<[^>]*>", "", page)

    told = text_of(write_report(run, 12.5).read_text())
    assert "A record that two sites hold is promised ε ≤ 12.5 by this run." in told
    assert "losses carry noise of their own" in told
    assert "sealora-site budget says how much" in text_of(write_report(run).read_text())
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"] = recipe.get("data", {}) | {"person_field": "patient"}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    told = text_of(write_report(run, 12.5).read_text())
    assert "The promise to every person trained on" in told
    assert "A person that two sites hold is promised" in told
    assert "The unit is one record" not in told
