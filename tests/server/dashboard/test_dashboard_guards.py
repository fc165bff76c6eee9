"""What nobody sees or does who is not logged in, and what nobody sees at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx
import pytest
from shown_dashboard import WrittenRun
from starlette.testclient import TestClient

from sealora_common.errors import PolicyError, StorageError
from sealora_common.web.event_stream import EventStreams
from sealora_common.web.login import one_token
from sealora_common.web.sessions import Role
from sealora_server.dashboard.app import Dashboard
from sealora_server.dashboard.settings import DashboardProcessSettings, DashboardSettings
from sealora_server.dashboard.watched import Watched

from run_fixture import SITES, history_line, write_history_line, write_run

TOKEN = "correct-horse-battery-staple"
HERE = {"Origin": "http://testserver"}


def client_of(*places, logged_in: bool = True) -> TestClient:
    dashboard = Dashboard.of(Watched(places), one_token(TOKEN, Role.READER, "ann"), "test", is_secure=False)
    client = TestClient(dashboard.application(["testserver"], "http"), follow_redirects=False)
    if logged_in:
        assert client.post("/login", data={"token": TOKEN}, headers=HERE).status_code == 303
    return client


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "runs" / "one", with_trouble=True)


@pytest.mark.parametrize("path", ["/", "/runs/one", "/events", "/runs/one/events", "/runs/none", "/nothing"])
def test_without_a_login_nothing_is_told_not_even_what_there_is(run, path):
    client = client_of(run.parent, logged_in=False)
    for accept, status in (("text/html", 303), ("text/event-stream", 401)):
        answer = client.get(path, headers={"Accept": accept})
        assert answer.status_code == status
        assert "one" not in answer.text.replace("Nobody is logged in: log in first.", "")
    client.cookies.set("sealora-test", "x" * 43)
    assert client.get(path).status_code == 401


@pytest.mark.parametrize("path", ["/events", "/runs/one/events"])
def test_a_stream_ends_with_the_session_of_whoever_listens(run, path):
    holder = one_token(TOKEN, Role.READER, "ann")
    made = Dashboard.of(Watched([run.parent]), holder, "test", is_secure=False)
    dashboard = replace(made, streams=EventStreams(every=0.05, heartbeat=0.05))

    async def listen() -> None:
        transport = httpx.ASGITransport(dashboard.application(["testserver"], "http"))
        async with asyncio.timeout(20), httpx.AsyncClient(transport=transport, base_url=HERE["Origin"]) as client:
            await client.post("/login", data={"token": TOKEN}, headers=HERE)
            listening = asyncio.create_task(client.get(path))
            while not dashboard.streams.listeners:
                await asyncio.sleep(0.01)
            dashboard.sessions.end(client.cookies["sealora-test"])
            assert (await listening).status_code == 200

    asyncio.run(listen())


def test_what_a_server_tells_its_dashboard_s_process_is_shown_nowhere(tmp_path):
    told = DashboardProcessSettings(supervisor=1, config_file=tmp_path, listener=3, secret="known to both")
    assert "known to both" not in repr(told)


def test_pages_of_others_can_do_nothing_here(run):
    client = client_of(run.parent)
    for path in ("/", "/runs/one", "/login", "/logout"):
        for headers in ({"Origin": "http://evil.example"}, {**HERE, "Sec-Fetch-Site": "cross-site"}, {}):
            assert client.post(path, headers=headers).status_code == 403
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert client.post("/runs/one", headers=HERE).status_code == 405  # nothing can be done there
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("key", ["none", "%2e%2e%2frun", "one%00", "events.jsonl"])
def test_a_run_that_is_not_there_is_no_path_into_the_files(run, key):
    client = client_of(run.parent)
    for path in (f"/runs/{key}", f"/runs/{key}/events"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "events" not in answer.text


def test_no_site_s_own_figure_is_on_a_page_even_where_its_files_lie_beside_the_run(tmp_path):
    run = write_run(tmp_path / "runs" / "one", own_files=True)
    secret = history_line(0, 5, 4) | {"heldout_loss": 7.654321, "epsilon": 6.54321, "records": 31_337}
    write_history_line(run, SITES[0], secret)
    (run / "sites" / SITES[0] / "history.jsonl").chmod(0o600)
    client = client_of(tmp_path / "runs")
    texts = [client.get(path).text for path in ("/", "/runs/one")]
    assert SITES[0] in texts[1]
    for told in ("7.654", "6.54", "31337", "31,337"):
        assert all(told not in text for text in texts)


def test_the_figures_on_a_page_have_their_unit_and_noise(tmp_path):
    run = WrittenRun(tmp_path / "runs" / "one", SITES, 3)
    run.write_round(1)
    run.write_round(2)
    text = client_of(tmp_path / "runs").get("/runs/one").text
    assert "nats a token" in text
    assert "(noise +-0.15 or more)" in text  # 0.25 / sqrt(3), rounded up
    assert "noisy held-out loss, clipped to 8" in text.lower()


def test_runs_of_one_name_have_a_page_each(tmp_path):
    for place in ("first", "second"):
        write_run(tmp_path / place / "demo")
    client = client_of(tmp_path / "first", tmp_path / "second")
    text = client.get("/").text
    assert "/runs/demo" in text
    assert "/runs/second-demo" in text
    assert client.get("/runs/second-demo").status_code == 200


def test_what_cannot_be_watched_or_served_is_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match=r"empty: is no server's directory, no run's and none of runs"):
        Watched([tmp_path / "empty"])
    for listen, tls, said in (
        ("8080", "none", "'8080' is no address and port"),
        ("127.0.0.1:0", "server", "there is no server whose certificate"),
    ):
        with pytest.raises(PolicyError, match=said):
            DashboardSettings.of(listen, [], tmp_path / "token", tls, None)
    open_to_all = DashboardSettings.of("0.0.0.0:0", [], tmp_path / "token", "none", None)
    with pytest.raises(PolicyError, match="other machines would log in here without encryption"):
        open_to_all.address.taken()
    with DashboardSettings.of("0.0.0.0:0", [], tmp_path / "token", "proxy", None).address.taken() as taken:
        assert taken.getsockname()[1] > 0
