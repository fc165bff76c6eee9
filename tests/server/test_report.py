from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from sealora_common.errors import StorageError
from sealora_common.records.events import TurnedAway
from sealora_server.view.report import render_report, write_report

from run_fixture import SITES, write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")


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
    assert "What the server could and could not see" in page
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

    charts = [attrs for tag, attrs in page.tags if tag == "svg"]
    ids = {attrs.get("id") for _, attrs in page.tags}
    assert len(charts) == 3
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


@needs_chromium
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_lays_the_report_out_within_the_window(tmp_path: Path, width: int) -> None:
    report = write_report(write_run(tmp_path))
    layout = _layout(report, width)

    assert layout["widest"] <= width
    assert len(layout["charts"]) == 3
    assert all(chart[0] > 200 and chart[1] > 100 for chart in layout["charts"])
    assert all(path > 100 for path in layout["curves"])
    assert layout["errors"] == []


@needs_chromium
def test_a_browser_without_network_shows_the_report_light_and_dark(tmp_path: Path) -> None:
    report = write_report(write_run(tmp_path / "run"))

    light = _corner_of_screenshot(report, tmp_path / "light.png")
    dark = _corner_of_screenshot(report, tmp_path / "dark.png", "--blink-settings=preferredColorScheme=0")

    assert min(light) > 200
    assert max(dark) < 60


def _layout(report: Path, width: int) -> dict[str, list[list[float]] | list[float] | list[str] | float]:
    """What the browser made of the page, measured by a script in a copy of it inside a frame of `width`."""
    probe = """<script>
      const errors = []; addEventListener('securitypolicyviolation', e => errors.push(e.blockedURI));
      addEventListener('load', () => parent.postMessage(JSON.stringify({
        widest: document.documentElement.scrollWidth, errors,
        charts: [...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect()).map(b => [b.width, b.height]),
        curves: [...document.querySelectorAll('path.line')].map(p => p.getTotalLength()),
      }), '*'));</script></head>"""
    page = report.read_text().replace("style-src", "script-src 'unsafe-inline'; style-src")
    (report.parent / "probed.html").write_text(page.replace("</head>", probe))
    frame = report.parent / "frame.html"
    frame.write_text(
        f"<script>onmessage = e => document.title = e.data</script>"
        f'<iframe src="probed.html" style="width:{width}px;height:900px;border:0"></iframe>'
    )
    shown = _chromium("--virtual-time-budget=5000", "--dump-dom", frame.as_uri())
    title = re.search(r"<title>(.*?)</title>", shown)
    assert title is not None, shown[:2000]
    found: dict[str, list[list[float]] | list[float] | list[str] | float] = json.loads(title[1])
    return found


def _corner_of_screenshot(report: Path, picture: Path, *options: str) -> tuple[int, ...]:
    """Red, green and blue of the picture's first pixel."""
    _chromium(*options, "--window-size=1200,900", f"--screenshot={picture}", report.as_uri())
    content = picture.read_bytes()
    assert len(content) > 20_000  # an empty page is a few kilobytes
    packed, at = b"", 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            packed += content[at + 8 : at + 8 + length]
        at += 12 + length
    return tuple(zlib.decompress(packed)[1:4])  # byte 0 is the row's filter; the first pixel stands as it is


def _chromium(*options: str) -> str:
    offline = ("--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND")
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *offline]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


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
