"""The reports in a real browser: at the width of a phone and of a desk, light and dark, for people who hear or zoom."""

# ruff: noqa: F811 -- a fixture that is imported is named again by the test that takes it

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sealora_client.run_report.figures import CheckedReceipts, CostOfRun, RunAtSite, WhatLeft
from sealora_client.run_report.page import run_page
from sealora_common.recipe import parse_recipe
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.records.site_rounds import SiteRound
from sealora_server.view.report import write_report
from sealora_server.view.site_only import SITE_ONLY, AloneSite, SiteOnly

sys.path.insert(0, str(Path(__file__).parent / "server"))


from browser import DESKTOP, PHONE, assert_fits, axe, chromium, visitor  # noqa: F401 -- two of them are fixtures
from run_fixture import RECIPE, SITES, write_run


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A simulation's report with what sites come to alone, a deployed run's in trouble, and a site's own."""
    directory = tmp_path_factory.mktemp("reports")
    simulated = write_run(directory / "simulated")
    alone = tuple(AloneSite(name=site, figure=4.0, own_figure=2.5) for site in SITES)
    (simulated / SITE_ONLY).write_text(SiteOnly(seeds=(0,), sites=alone).model_dump_json())
    write_report(simulated)
    troubled = write_report(write_run(directory / "troubled", own_files=False, stop_after=2, with_trouble=True))
    own = directory / "own.html"
    own.write_text(site_report())
    return {"simulated": simulated / "report.html", "troubled": troubled, "own": own}


def site_report() -> str:
    lines = tuple(
        SiteRound(
            round=number,
            kind="train",
            heldout_loss=5 - number / 2,
            epsilon=number / 2,
            fraction_clipped=0.9,
            seconds=92.5,
            bytes_up=3_800_000,
            bytes_down=5_500_000,
        )
        for number in range(1, 7)
    )
    cost = CostOfRun(part="training", fingerprint="ab" * 32, units=3418, epsilon=7.83, spent=7.9, left=4.1)
    found = RunAtSite(
        site="heart-hospital-with-a-long-name",
        run="ab" * 16,
        recipe="triage",
        recipe_hash="cd" * 32,
        has_ended=True,
        rounds=6,
        rounds_trained=6,
        kept_round=6,
        adapter_digest="ef" * 32,
        mechanism="local",
        unit="record",
        epsilon=8,
        delta=1e-5,
        policy_limit=12,
        heldout=HeldoutFigure(),
        heldout_before=4.5,
        heldout_after=2.0,
        federation_before=4.6,
        federation_after=2.1,
        federation_noise=0.03,
        records=3418,
        heldout_records=80,
        truncated=0,
        receipts=CheckedReceipts(rounds=6, with_this_site=6, problem=None),
        costs=(cost, cost.model_copy(update={"part": "held-out", "units": 80})),
        left=(WhatLeft(kind="sealed vectors: update, counts and held-out figure", messages=6, bytes=22_000_000),),
        bytes_up=22_800_000,
        bytes_down=33_000_000,
        seconds=555.0,
        by_round=lines,
        insecure=False,
    )
    return run_page(found, parse_recipe(RECIPE.format(rounds=6, digest="ab" * 32, mechanism="local")))


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["simulated", "troubled", "own"])
def test_a_report_reads_at_both_widths_and_keeps_nobody_out(
    pages: dict[str, Path],
    visitor,
    kind: str,
    dark: bool,
) -> None:
    page = visitor.open(pages[kind].as_uri(), width=DESKTOP, dark=dark)
    axe(page)
    stray = """() => [...document.querySelectorAll('svg.viewers')].flatMap(svg => {
        const boxes = [...svg.querySelectorAll('rect.place')].map(each => each.getBBox());
        const inside = (one, other) => one.x >= other.x && one.x + one.width <= other.x + other.width
            && one.y >= other.y && one.y + one.height <= other.y + other.height;
        return [...svg.querySelectorAll('text:not(.way)')].filter(text => text.getClientRects().length)
            .filter(text => !boxes.some(box => inside(text.getBBox(), box))).map(text => text.textContent) })"""
    assert page.locator("svg.viewers-row").is_visible()
    assert page.evaluate(stray) == []
    red = int(page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0])
    assert red < 60 if dark else red > 200
    assert_fits(page, PHONE)
    axe(page)
    assert page.locator("svg.viewers-column").is_visible()
    assert not page.locator("svg.viewers-row").is_visible()
    assert page.evaluate(stray) == []
    # Tables that stack need no scrolling within the page either: each cell says what it is of, beside its value.
    wide = "() => [...document.querySelectorAll('.wide')].filter(each => each.scrollWidth > each.clientWidth).length"
    assert page.evaluate(wide) == 0
    cell = page.locator("table.stacks tbody td").first
    assert cell.evaluate("each => getComputedStyle(each, '::before').content").strip('"') == cell.get_attribute(
        "data-head"
    )
