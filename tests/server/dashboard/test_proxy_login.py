"""A dashboard behind a reverse proxy that says who asks, over real HTTP."""

from __future__ import annotations

import pytest
from acting import Hand, acting

from sealora_server.dashboard.acts.once import Forms
from sealora_server.dashboard.login.proxy import PROOF_HEADER

SECRET = "0123456789abcdef" * 4
USER = "X-Forwarded-User"


@pytest.fixture
def behind_proxy(bench):
    """A server whose proxy is on this machine, as all of its accounts are."""
    (bench.server.path / "proxy-secret").write_text(SECRET)
    (bench.server.path / "proxy-secret").chmod(0o600)
    proxy = {"addresses": ["127.0.0.1"], "secret": "proxy-secret", "operators": ["anna"], "readers": ["cara"]}
    with acting(bench) as server, server.served(proxy=proxy) as url:
        yield server, url


def through(url, name):
    """Somebody's browser behind the proxy."""
    return Hand(base_url=url, headers={"Origin": url, USER: name, PROOF_HEADER: SECRET}, follow_redirects=True)


def test_the_proxy_says_who_asks_and_roles_hold(behind_proxy, bench):
    server, url = behind_proxy
    anna, cara = through(url, "anna"), through(url, "cara")
    assert "anna" in anna.get("/").text
    assert not anna.cookies
    assert "run r1: submitted" in anna.submits(bench).text
    assert [person.name for _, person in server.asked] == ["anna"]
    assert cara.get("/runs/r1").status_code == 200
    assert cara.sends("/runs/r1/stop").status_code == 403
    assert through(url, "eve").get("/").status_code == 403
    with anna.stream("GET", "/events") as live:
        assert live.status_code == 200
    assert server.run().condition == "running"


def test_another_account_of_the_machine_says_nothing_without_the_proof(behind_proxy, bench):
    server, url = behind_proxy
    through(url, "anna").submits(bench)
    for headers in ({USER: "anna"}, {USER: "anna", PROOF_HEADER: "guess"}, {PROOF_HEADER: "guess"}):
        liar = Hand(base_url=url, headers={"Origin": url, **headers})
        assert liar.get("/").status_code == 403
        assert liar.get("/login").status_code == 403
        assert liar.post("/runs/r1/stop", data={"csrf": "", "form": Forms.new()}).status_code == 403
    assert server.run().condition == "running"


def test_a_form_of_a_stranger_s_page_is_refused_though_the_proxy_adds_who_asks(behind_proxy, bench):
    server, url = behind_proxy
    anna = through(url, "anna")
    anna.submits(bench)
    csrf = anna.csrf
    for headers, sent in (({"Origin": "https://evil.example.org"}, csrf), ({}, ""), ({}, "0" * 64)):
        answer = anna.post("/runs/r1/stop", data={"csrf": sent, "form": Forms.new()}, headers=headers)
        assert answer.status_code == 403
    assert server.run().condition == "running"


def test_who_logs_in_by_a_token_behind_the_proxy_is_who_the_token_says(behind_proxy):
    server, url = behind_proxy
    bert = server.hand(url, "bert")
    assert "bert" in bert.get("/").text
    assert "anna" in bert.get("/", headers={USER: "anna", PROOF_HEADER: SECRET}).text
