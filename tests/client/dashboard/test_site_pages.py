"""What the page refuses and where it stops, asked by hand in this process."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from sealora_client.dashboard import background_checks, priced
from sealora_client.dashboard.app import LONGEST_RECIPE, SitePages
from sealora_client.dashboard.background_checks import BackgroundChecks
from sealora_client.dashboard.priced import Pricing, price_of
from sealora_client.ledger import LEDGER
from sealora_client.operator.departure import departure
from sealora_client.operator.kept_checks import keep_data_report
from sealora_common.web.event_stream import EventStreams

from budget_site import write_site

TOKEN = "what-this-site-s-people-know"
HERE = {"Origin": "http://testserver"}


@pytest.fixture
def directory(tmp_path) -> Path:
    """A site's that nothing was charged at."""
    return write_site(tmp_path / "site")


@pytest.fixture
def pages(directory) -> SitePages:
    return SitePages(directory, "site-0", TOKEN, directory / "dashboard.token", "1", is_secure=False)


@pytest.fixture
def browser(pages):
    """Of somebody who has logged in."""
    client = TestClient(pages.guarded(["testserver"], is_secure=False), headers=HERE, follow_redirects=False)
    assert client.post("/login", data={"token": TOKEN}).status_code == 303
    return client


def sends(browser, path, **fields):
    csrf = browser.get("/").text.split('name="csrf" value="')[1].split('"')[0]
    return browser.post(path, data={"csrf": csrf, **fields})


def test_what_there_is_not_is_not_done(browser, directory):
    for fields in ({}, {"when": "never"}):
        assert sends(browser, "/leave", **fields).status_code == 400
    assert departure(directory) is None
    assert sends(browser, "/checks/nothing").status_code == 404
    assert browser.get("/events/nothing").status_code == 404
    assert sends(browser, "/budget/price", recipe="x" * LONGEST_RECIPE).status_code == 413
    (directory / "recipe.yaml").unlink()
    refused = sends(browser, "/budget/price")
    assert (refused.status_code, "choose a recipe's file, or paste one" in refused.text) == (409, True)


def test_who_only_looks_or_asks_for_a_price_begins_no_ledger(browser, directory):
    for path in ("/", "/budget", "/left", "/scores", "/checks"):
        assert browser.get(path).status_code == 200
    found = price_of(directory, (directory / "recipe.yaml").read_text())
    assert found.sentence.startswith("The whole run of tiny would cost the training records (20 records) ε ")
    assert not list(directory.glob(f"{LEDGER}*"))


def test_what_a_line_of_the_policy_does_not_allow_is_told_as_refused(directory):
    recipe = (directory / "recipe.yaml").read_text()
    assert not price_of(directory, recipe).refuses
    with (directory / "policy.yaml").open("a") as policy:
        policy.write("minimum_sites: 50\n")
    assert price_of(directory, recipe).refuses


def test_a_stream_ends_with_the_session_of_whoever_listens(pages):
    pages.streams = EventStreams(every=0.05, heartbeat=0.05)

    async def listen() -> None:
        transport = httpx.ASGITransport(pages.guarded(["testserver"], is_secure=False))
        async with asyncio.timeout(20), httpx.AsyncClient(transport=transport, base_url=HERE["Origin"]) as client:
            await client.post("/login", data={"token": TOKEN}, headers=HERE)
            listening = asyncio.create_task(client.get("/events/checks"))
            while not pages.streams.listeners:
                await asyncio.sleep(0.01)
            pages._sessions.end(client.cookies["sealora-1"])
            assert (await listening).status_code == 200

    asyncio.run(listen())


def until_done(work) -> None:
    ends = time.monotonic() + 20
    while work.at_work if isinstance(work, BackgroundChecks) else work.is_at_work:
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture
def as_python(tmp_path, monkeypatch):
    """Has a shell script stand for the program that checks."""

    def put(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(background_checks.sys, "executable", str(path))

    return put


ENDED = {
    "and says why": (
        "printf 'x\\nError: no \\033[2Jdata\\n' >&2; exit 2",
        "ended without a result: no  [2Jdata",
    ),
    "and says why, as a command does": ("echo 'Error: no data' >&2; exit 1", "ended without a result: no data"),
    "and says nothing": ("exit 7", "The check ended without a result: it said nothing"),
    "and keeps nothing": ("exit 0", "what was found could not be kept: is the disk full?"),
}


@pytest.mark.parametrize("how", ENDED)
def test_a_check_that_comes_to_nothing_is_one_sentence_and_another_can_begin(directory, as_python, how):
    script, said = ENDED[how]
    as_python(script)
    checks = BackgroundChecks(directory)
    for _ in range(2):
        assert checks.begin("data")
        until_done(checks)
        assert said in checks.problem
        assert "\x1b" not in checks.problem


def test_one_check_is_at_work_at_a_time_and_ends_with_the_page(directory, as_python, pages):
    as_python("exec sleep 60")
    with TestClient(pages.guarded(["testserver"], is_secure=False)):
        assert pages._checks.begin("site")
        assert not pages._checks.begin("data")
        while pages._checks._process is None:
            time.sleep(0.01)
    until_done(pages._checks)


def test_a_check_that_keeps_what_it_found_has_no_problem(directory, monkeypatch, as_python):
    from sealora_client.data_report.report import DataReport

    keep_data_report(directory, DataReport(data="d", recipe="r", remarks=()))
    as_python(f"echo ' ' >> {directory}/checks/data.json; exit 1")
    checks = BackgroundChecks(directory)
    time.sleep(0.05)  # clocks of file systems tick slowly
    checks.begin("data")
    until_done(checks)
    assert checks.problem is None


def test_one_price_is_worked_out_at_a_time_and_what_fails_quotes_nothing(directory, monkeypatch, caplog):
    begun, may_end = [], False

    def work(where: Path, text: str):
        begun.append(text)
        while not may_end:
            time.sleep(0.01)
        raise ValueError(f"a record: {text}")

    monkeypatch.setattr(priced, "price_of", work)
    pricing = Pricing(directory)
    assert pricing.begin("first")
    assert not pricing.begin("second")
    may_end = True
    until_done(pricing)
    assert begun == ["first"]
    assert pricing.last.problem.startswith("it could not be worked out (ValueError)")
    assert "a record" not in pricing.last.problem + caplog.text
