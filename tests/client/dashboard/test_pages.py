"""The site's page in a browser: what it shows, live, to whom, and on which screens."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from quick_cases import quick_cases
from sealora_client.operator.at_work import AtWork, tell_work
from sealora_client.site.process_lock import only_process
from sealora_common.show.quantities import epsilon_text

from browser import assert_fits, axe
from budget_site import report as budget_of
from budget_site import spend

PATHS = ("/", "/budget", "/left", "/scores", "/checks")
SECONDS = 60_000  # milliseconds that working out the first epsilon may take on a machine with other work


@pytest.mark.slow
def test_a_wrong_token_is_refused_and_the_right_one_is_led_in(site, visitor):
    visitor.expects("403")
    page = visitor.open(site.url)
    assert page.url == f"{site.url}/login"
    page.fill("#token", "not-the-token-of-this-site")
    page.click("button[type=submit]")
    expect(page.get_by_role("alert")).to_contain_text("not the token")
    page.fill("#token", site.token)
    page.click("button[type=submit]")
    expect(page.get_by_role("heading", level=1)).to_have_text("Now")
    page.get_by_role("button", name="Log out").click()
    page.goto(site.url)
    assert page.url == f"{site.url}/login"


def test_it_shows_what_left_and_what_is_spent_as_the_ledger_says(site, visitor):
    page = site.open(visitor)
    found = budget_of(site.directory)["datasets"][0]
    spent, left = epsilon_text(found["spent"]), f"{found['left'] - 0.005:.2f}"
    level = page.locator("#now-budget .level").first
    expect(level).to_contain_text(f"ε {spent} spent, {left} left of 8", timeout=SECONDS)
    expect(page.get_by_role("img", name=f"epsilon {spent} of 8 is spent").first).to_be_visible()
    state = page.locator("#now-state")
    expect(state).to_contain_text("does not run")
    expect(state).to_contain_text("Sealed updates that left")
    row = page.locator("#now-sent tr.of-records")
    expect(row).to_contain_text("sealed vector")
    expect(row).to_contain_text("360 kB")
    expect(page.locator("#now-sent")).to_contain_text("refusal: one sentence")


def test_every_charge_is_told_with_what_was_spent_then(site, visitor):
    page = site.open(visitor, "/budget")
    rows = page.locator("#budget-charges tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("training")
    expect(rows.first).to_contain_text("released")
    spent = epsilon_text(budget_of(site.directory)["datasets"][0]["spent"])
    expect(rows.first.locator("td").nth(4)).to_have_text(spent, timeout=SECONDS)
    expect(page.locator("#budget-curve figure")).to_have_count(1)


def test_its_own_scores_stand_beside_the_base_model_s_and_those_of_this_site_alone(site, visitor):
    page = site.open(visitor, "/scores")
    expect(page.locator("main")).to_contain_text("they must not leave")
    own = page.locator("#scores-runs tr", has_text="This site's records, exact")
    expect(own.locator("td")).to_have_text(["3.500", "3.125"])
    federation = page.locator("#scores-runs tr", has_text="The federation's, noisy")
    expect(federation.locator("td")).to_have_text(["-", "-"])
    cells = page.locator("#scores-runs tr", has_text="Loss").last.locator("td")
    expect(cells).to_have_text(["2.5", "2.4 to 2.6", "4.5", "4.4 to 4.6", "-2", "3.75", "3.7 to 3.8", "-1.25"])


def test_the_page_changes_when_the_ledger_and_the_site_do(site, visitor):
    page = site.open(visitor, "/budget")
    expect(page.locator("#connection")).to_have_text("live", timeout=10_000)
    before = page.locator("#budget-charges tbody tr").count()
    spend(site.directory, 1, run="cd" * 16)
    expect(page.locator("#budget-charges tbody tr")).to_have_count(before + 1, timeout=10_000)
    page.goto(site.url)
    at_work = AtWork(
        run="cd" * 16,
        recipe="tiny",
        rounds=4,
        round=2,
        purpose="train",
        stage="train",
        stage_began=1.0,
        round_began=1.0,
        round_seconds=1e12,
    )
    with only_process(site.directory):
        tell_work(site.directory, at_work)
        expect(page.locator("#now-state")).to_contain_text("round 2 of 4", timeout=15_000)
        expect(page.locator("#now-state")).to_contain_text("more of this round")
    expect(page.locator("#now-state")).to_contain_text("does not run", timeout=15_000)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", quick_cases(PATHS, "/", "/budget"))
def test_everybody_can_use_it_on_any_screen(site, visitor, path, dark):
    page = site.open(visitor, path, dark=dark)
    expect(page.locator("#connection")).to_have_text("live", timeout=10_000)
    axe(page)
    assert_fits(page)


def test_it_can_be_used_by_keyboard_alone(site, visitor):
    page = site.open(visitor)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Stop now":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop now")).to_be_visible()


SCRIPT = "<script>document.title = 'owned'</script><img src=x>"


def test_what_others_wrote_is_text_wherever_it_stands(site, visitor):
    from sealora_client.data_report.report import DataReport
    from sealora_client.operator.kept_checks import keep_data_report, keep_preflight
    from sealora_common.health.finding import failed

    keep_preflight(site.directory, (failed(SCRIPT, SCRIPT),), trial=False)
    keep_data_report(site.directory, DataReport(data=SCRIPT, recipe=SCRIPT, remarks=(SCRIPT,)))
    line = {"at": SCRIPT, "kind": SCRIPT, "run": SCRIPT, "round": 1, "bytes": 1}
    with (site.directory / "sent.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    (site.directory / "recipe.yaml").rename(site.directory / "recipe.aside")
    (site.directory / "recipe.yaml").write_text(f"name: {json.dumps(SCRIPT)}\n")
    try:
        for path in ("/", "/left", "/checks", "/budget"):
            page = site.open(visitor, path)
            expect(page.locator("main")).to_contain_text("<script>document.title", timeout=10_000)
            assert "owned" not in page.title()
            assert page.locator("main script:not([src='/choose.js']), main img").count() == 0
    finally:
        (site.directory / "recipe.aside").rename(site.directory / "recipe.yaml")
