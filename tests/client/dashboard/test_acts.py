"""What the page can do: price a recipe, run a check, have the site leave and come back. Nobody else can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import yaml
from playwright.sync_api import expect

from sealora_client.ledger import Ledger
from sealora_client.operator.departure import DEPARTURE, departure
from sealora_common.show.quantities import epsilon_text

from browser import axe
from budget_site import report as budget_of

SECONDS = 90_000  # milliseconds: the first epsilon of a process takes long on a machine with other work


def test_a_recipe_s_price_is_that_of_the_command_and_nothing_is_charged(site, visitor, tmp_path):
    recipe = yaml.safe_load((site.directory / "recipe.yaml").read_text()) | {"name": "longer", "rounds": 6}
    file = tmp_path / "longer.yaml"
    file.write_text(yaml.safe_dump(recipe))
    plan = budget_of(site.directory, "--recipe", file)["plan"]
    page = site.open(visitor, "/budget")
    page.set_input_files("#recipe-file", file)
    expect(page.locator("#recipe")).to_have_value(file.read_text())
    page.get_by_role("button", name="Work out what it costs").click()
    sentence = page.locator("#price-sentence")
    expect(sentence).to_contain_text("The whole run of longer would cost", timeout=SECONDS)
    for part in plan["parts"]:
        expect(sentence).to_contain_text(f"ε {epsilon_text(part['whole_run'])}")
    assert plan["refused"] is None or plan["refused"] in sentence.text_content()
    expect(page.locator("#budget-price tbody tr")).to_have_count(len(plan["parts"]))
    with Ledger(site.directory / "ledger.sqlite") as ledger:
        assert len(ledger.charges()) == 3


@pytest.mark.parametrize("text", ["rounds: many", "a: [", "<script>alert(1)</script>: 1", "name: x\nnonsense: true"])
def test_what_is_no_recipe_is_one_sentence(site, visitor, text):
    page = site.open(visitor, "/budget")
    page.fill("#recipe", text)
    page.get_by_role("button", name="Work out what it costs").click()
    expect(page.locator("#budget-price .alert.bad")).to_contain_text("the recipe", timeout=SECONDS)


def test_the_site_is_told_to_leave_to_stop_and_to_come_back_with_what_it_costs_said_before(site, visitor):
    page = site.open(visitor)
    expect(page.locator("#now-leaving")).to_contain_text("leaving costs no epsilon", timeout=SECONDS)
    page.get_by_role("button", name="Leave after this round").click()
    expect(page.locator("#now-leaving")).to_contain_text("has left")
    assert departure(site.directory).when == "after-round"
    assert (site.directory / DEPARTURE).stat().st_mode & 0o777 == 0o600
    axe(page)
    page.get_by_role("button", name="Take part again").click()
    expect(page.get_by_role("button", name="Leave after this round")).to_be_visible()
    assert departure(site.directory) is None
    page.get_by_text("Stop now").first.click()
    page.get_by_role("button", name="Stop now").click()
    expect(page.get_by_role("button", name="Take part again")).to_be_visible()
    assert departure(site.directory).when == "now"
    page.get_by_role("button", name="Take part again").click()
    expect(page.get_by_role("button", name="Leave after this round")).to_be_visible()


@pytest.mark.slow
def test_checks_run_beside_the_page_and_their_results_stay(site, visitor):
    page = site.open(visitor, "/checks")
    page.get_by_role("button", name="Check all but the model").click()
    expect(page.locator("#checks-site")).to_contain_text("failed", timeout=SECONDS)
    # Its process ends after its result is there.
    expect(page.get_by_text("being checked")).to_have_count(0, timeout=SECONDS)
    page.get_by_role("button", name="Look at the data").click()
    expect(page.locator("#checks-data")).to_contain_text("Looked at", timeout=SECONDS)
    assert sorted(path.name for path in (site.directory / "checks").iterdir()) == ["data.json", "site.json"]


def client(site, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=site.url, headers=headers, timeout=30, trust_env=False)


@contextmanager
def logged_in(site) -> Iterator[httpx.Client]:
    """A browser's cookie in a program's hands."""
    with client(site, Origin=site.url) as made:
        assert made.post("/login", data={"token": site.token}).status_code == 303
        yield made


def test_nobody_is_answered_without_the_token_or_under_another_name(site):
    with client(site) as stranger:
        for path in ("/", "/budget", "/left", "/scores", "/checks", "/events/now", "/choose.js"):
            assert stranger.get(path).status_code == 401, path
        assert stranger.get("/", headers={"Host": "attacker.example"}).status_code == 421
        assert stranger.post("/leave", data={"when": "now"}, headers={"Origin": site.url}).status_code == 401
    assert departure(site.directory) is None


ACTS = {"/leave": {"when": "now"}, "/return": {}, "/budget/price": {"recipe": "name: x"}, "/checks/data": {}}


@pytest.mark.parametrize("path", ACTS)
def test_a_form_of_another_page_does_nothing(site, path):
    with logged_in(site) as browser:
        assert browser.get("/", headers={"Accept": "text/html"}).status_code == 200
        assert browser.post(path, data=ACTS[path]).status_code == 403  # without its session's word
        assert browser.post(path, data={**ACTS[path], "csrf": "0" * 64}).status_code == 403
        for headers in ({"Origin": "https://attacker.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            assert browser.post(path, data=ACTS[path], headers=headers).status_code == 403, headers
        assert browser.get(path).status_code in (404, 405)
    assert departure(site.directory) is None


def test_no_page_may_be_kept_framed_or_told_to_run_what_is_not_ours(site):
    with logged_in(site) as browser:
        answer = browser.get("/", headers={"Accept": "text/html"})
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert site.token not in answer.text
