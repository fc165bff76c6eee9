"""Logging in at an institution's own service: over real HTTP, and once in a real browser."""

from __future__ import annotations

import sys

import httpx
import pytest
from acting import acting
from openid_provider import CLIENT, SECRET, OpenIdProvider
from starlette.testclient import TestClient

from sealora_common.errors import PolicyError
from sealora_common.web.login import one_token
from sealora_common.web.sessions import Role
from sealora_server.dashboard.operated import Operated
from sealora_server.dashboard.watched import Watched
from sealora_server.deployment.config import DashboardSection
from sealora_server.deployment.operator.messages import Stop


@pytest.fixture
def provider():
    with OpenIdProvider() as provider:
        yield provider


@pytest.fixture
def section(bench, provider):
    """Who may log in: by name, unless a test says otherwise."""
    secret = bench.server.path / "openid-secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)

    def made(**changes):
        values = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret": "openid-secret"}
        return {**values, "operators": ["anna"], "readers": ["cara"], **changes}

    return made


def logged_in(url):
    """A browser's cookies after it has been at the service, and what it was shown last."""
    browser = httpx.Client(base_url=url, timeout=30)
    away = browser.get("/login/openid/begin")
    if away.status_code != 303:
        return browser, away
    back = httpx.get(away.headers["location"])
    return browser, browser.get(back.headers["location"])


def test_who_logs_in_at_the_service_is_logged_in_here(visitor, bench, provider, section):
    provider.person = {"sub": "7", "preferred_username": "anna", "groups": ["sealora-operators"]}
    by_group = section(
        name_claim="preferred_username",
        role_claim="groups",
        operators=["sealora-operators"],
        scope="openid profile groups",
    )
    with acting(bench) as server, server.served(openid=by_group) as url:
        provider.answers["/favicon.ico"] = b""
        visitor.open(f"{provider.issuer}/.well-known/openid-configuration")
        here = url.replace("127.0.0.1", "localhost")  # another site than the service's, as browsers see it
        page = visitor.open(f"{here}/login")
        page.get_by_role("link", name="Log in at your institution").click()
        page.wait_for_url(f"{here}/")
        assert "anna" in page.locator("header").inner_text()
        page.goto(f"{here}/submit")
        assert page.get_by_role("heading", name="Submit a run").is_visible()
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url(f"{here}/login")
    assert provider.problems == []


ROLES = {"anna": 200, "cara": 403}


@pytest.mark.parametrize("name", ROLES)
def test_what_somebody_may_do_is_by_their_name(bench, provider, section, name):
    provider.person = {"sub": name}
    with acting(bench) as server, server.served(openid=section()) as url:
        browser, shown = logged_in(url)
        assert (shown.status_code, shown.headers["refresh"]) == (200, "0; url=/")
        assert browser.get("/").status_code == 200
        assert browser.get("/submit").status_code == ROLES[name]


NOT_LET_IN = {
    "who is not named": ({"sub": "eve"}, {}, "eve may not log in here: `openid` in server.yaml says who may"),
    "who is in no group": (
        {"sub": "anna", "groups": ["staff"]},
        {"role_claim": "groups"},
        "anna may not log in here",
    ),
    "whose groups are no texts": (
        {"sub": "anna", "groups": {"anna": 1}},
        {"role_claim": "groups"},
        "may not log in here",
    ),
    "who has no name": ({"sub": "7"}, {"name_claim": "preferred_username"}, "does not say your name for certain"),
    "who has several": ({"sub": "7", "n": ["anna", "bert"]}, {"name_claim": "n"}, "does not say your name for certain"),
    "whose address nobody has verified": (
        {"sub": "7", "email": "anna", "email_verified": "true"},
        {"name_claim": "email"},
        "does not say your name for certain",
    ),
    "who is called like an account": ({"sub": "account:root"}, {"operators": ["account:root"]}, "cannot be used here"),
    "who has a name of two lines": ({"sub": "anna\nroot"}, {"operators": ["anna\nroot"]}, "cannot be used here"),
    "who writes HTML": ({"sub": "<script>x</script>"}, {}, "&lt;script&gt;x&lt;/script&gt; may not log in here"),
}


@pytest.mark.parametrize("case", NOT_LET_IN)
def test_who_is_not_let_in_is_told_why(bench, provider, section, case):
    provider.person, changes, said = NOT_LET_IN[case]
    with acting(bench) as server, server.served(openid=section(**changes)) as url:
        browser, shown = logged_in(url)
        assert shown.status_code == 403
        assert said in shown.text
        assert browser.get("/", headers={"Accept": "text/html"}).headers["location"] == "/login"
        assert not [name for name in browser.cookies if "openid" not in name]


def test_a_token_that_does_not_hold_logs_nobody_in(bench, provider, section):
    provider.person = {"sub": "anna"}
    provider.change = lambda claims: {**claims, "nonce": "another"}
    with acting(bench) as server, server.served(openid=section()) as url:
        browser, shown = logged_in(url)
        assert shown.status_code == 403
        assert "does not hold (its nonce)" in shown.text
        assert browser.get("/").status_code == 401


def test_a_login_that_another_browser_began_logs_nobody_in(bench, provider, section):
    """Else a stranger's link would log somebody in as the stranger."""
    provider.person = {"sub": "anna"}
    with acting(bench) as server, server.served(openid=section()) as url:
        stranger, victim = httpx.Client(base_url=url), httpx.Client(base_url=url)
        back = httpx.get(stranger.get("/login/openid/begin").headers["location"]).headers["location"]
        for browser in (victim, httpx.Client(base_url=url)):
            shown = browser.get(back)
            assert shown.status_code == 403
            assert "this login was not begun here" in shown.text
            victim.get("/login/openid/begin")
        assert victim.get("/").status_code == 401


def test_the_cookie_of_a_session_is_new_whatever_was_sent(bench, provider, section):
    provider.person = {"sub": "anna"}
    with acting(bench) as server, server.served(openid=section()) as url:
        browser = httpx.Client(base_url=url)
        browser.cookies.set("sealora-test", "chosen by a stranger", domain="127.0.0.1")
        away = browser.get("/login/openid/begin")
        back = httpx.get(away.headers["location"]).headers["location"]
        shown = browser.get(back)
        cookies = shown.headers.get_list("set-cookie")
        session = next(each for each in cookies if each.startswith("sealora-test="))
        assert "chosen" not in session
        assert {"httponly", "samesite=strict", "path=/"} <= set(session.lower().split("; "))
        before = next(each for each in away.headers.get_list("set-cookie"))
        assert {"httponly", "samesite=lax", "path=/"} <= set(before.lower().split("; "))
        stale = httpx.Client(base_url=url, cookies={"sealora-test": "chosen by a stranger"})
        assert stale.get("/").status_code == 401


def test_by_https_both_cookies_go_over_nothing_else_and_the_one_of_the_way_is_gone_afterwards(bench, provider, section):
    provider.person = {"sub": "anna"}
    with acting(bench) as server:
        at = Operated(bench.server, DashboardSection.model_validate({"openid": section()}), server.ask, server.status)
        reader, watched = one_token("x" * 20, Role.READER, "reader"), Watched([bench.server.path])
        _, app = at.dashboard(watched, reader, ["testserver"], "test", is_secure=True)
        browser = TestClient(app, base_url="https://testserver", follow_redirects=False)
        away = browser.get("/login/openid/begin")
        back = httpx.get(away.headers["location"]).headers["location"]
        assert back.startswith("https://testserver/login/openid/back?")
        cookies = dict(each.split("=", 1) for each in browser.get(back).headers.get_list("set-cookie"))
        for each in (away.headers["set-cookie"], *cookies.values()):
            assert {"Secure", "HttpOnly", "Path=/"} <= set(each.split("; "))
        assert set(cookies) == {"__Host-sealora-test", "__Host-sealora-test-openid"}
        assert "Max-Age=0" in cookies["__Host-sealora-test-openid"]
        assert browser.get("/submit").status_code == 200


def test_a_service_that_is_not_there_is_told_of_on_a_page(bench, section):
    gone = section(issuer="http://127.0.0.1:1")
    with acting(bench) as server, server.served(openid=gone) as url:
        _, shown = logged_in(url)
        assert (shown.status_code, "the login service cannot be asked" in shown.text) == (502, True)


def test_who_is_called_otherwise_since_is_the_one_they_were(bench, provider, section):
    renamed = section(name_claim="nickname", operators=["anna", "dora"])
    with acting(bench, approval={"required": True}) as server, server.served(openid=renamed) as url:
        server.ask(bench.submission(), server_person(url, server, provider, {"sub": "7", "nickname": "anna"}))
        dora = server_person(url, server, provider, {"sub": "7", "nickname": "dora"})
        assert dora.name == "dora"
        digest = server.run().approval.digest
        with pytest.raises(Exception, match="anna asked for it: another person must approve it"):
            server.ask(approve(digest), dora)


def approve(digest):
    from sealora_server.deployment.operator.messages import Approve

    return Approve(run="r1", digest=digest)


def server_person(url, server, provider, claims):
    """Whom the server is told of when somebody with these claims acts."""
    provider.person = claims
    browser, shown = logged_in(url)
    assert shown.status_code == 200
    csrf = browser.get("/submit").text.split('name="csrf" value="')[1].split('"')[0]
    browser.post("/runs/none/stop", data={"csrf": csrf, "form": "0" * 32}, headers={"Origin": url})
    act, person = server.asked[-1]
    assert act == Stop(run="none")
    return person


def test_without_the_library_it_is_one_sentence(bench, section, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("sealora_server.dashboard.login.openid")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "authlib.oauth2.rfc6749.parameters", None)
    with (
        acting(bench) as server,
        pytest.raises(PolicyError, match=r"^`openid` in server.yaml needs .*, which is not installed: install "),
    ):
        server.served(openid=section()).__enter__()


def test_a_stranger_who_is_refused_again_and_again_does_not_fill_the_log(bench, section, caplog):
    with acting(bench) as server, server.served(openid=section()) as url:
        for _ in range(20):
            assert httpx.get(f"{url}/login/openid/back?state=x&code=y").status_code == 403
    lines = [record.getMessage() for record in caplog.records if "was refused" in record.getMessage()]
    assert lines == [
        "a login by OpenID Connect was refused: this login was not begun here, or too long ago: begin it again"
    ]
