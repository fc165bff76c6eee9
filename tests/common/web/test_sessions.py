"""Who is logged in, for how long, and how often one may try."""

from __future__ import annotations

import asyncio
import stat

import httpx
import pytest
from shown import TOKEN, ShownApp
from starlette.testclient import TestClient

from sealora_common.errors import PolicyError
from sealora_common.web.sessions import IDLE_SECONDS, LONGEST_SECONDS, MOST_SESSIONS, Role, Sessions
from sealora_common.web.token_file import made_token, token_of

HERE = {"Origin": "http://testserver"}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_by_itself():
    clock = Clock()
    sessions = Sessions(clock)
    name, session = sessions.begin(Role.READER, "ann")
    clock.now = IDLE_SECONDS - 1
    assert sessions.of(name) is session
    clock.now += IDLE_SECONDS - 1
    assert sessions.is_open(session)
    assert sessions.of(name) is session
    clock.now += IDLE_SECONDS + 1
    assert not sessions.is_open(session)
    assert sessions.of(name) is None

    name, _ = sessions.begin(Role.READER, "ann")
    for _ in range(int(LONGEST_SECONDS // 3600)):
        clock.now += 3599
        assert sessions.of(name) is not None
    clock.now += 3600
    assert sessions.of(name) is None


def test_sessions_are_bounded_and_the_one_idle_longest_gives_way():
    clock = Clock()
    sessions = Sessions(clock)
    names = []
    for _ in range(MOST_SESSIONS):
        clock.now += 1
        names.append(sessions.begin(Role.READER, "ann")[0])
    clock.now += 1
    sessions.of(names[0])
    newest, _ = sessions.begin(Role.OPERATOR, "ben")
    assert [sessions.of(name) is not None for name in (names[0], names[1], newest)] == [True, False, True]
    sessions.end(newest)
    assert sessions.of(newest) is None


def test_who_logs_in_again_and_again_logs_nobody_else_out():
    clock = Clock()
    sessions = Sessions(clock)
    ben, _ = sessions.begin(Role.OPERATOR, "ben")
    for _ in range(2 * MOST_SESSIONS):
        clock.now += 1
        sessions.begin(Role.READER, "ann")
    assert sessions.of(ben) is not None


def test_names_and_forms_tokens_cannot_be_guessed_nor_read_from_what_is_shown_of_a_session():
    sessions = Sessions()
    made = [sessions.begin(Role.READER, "ann") for _ in range(8)]
    assert len({name for name, _ in made} | {session.csrf for _, session in made}) == 16
    assert all(len(name) >= 43 and len(session.csrf) == 64 for name, session in made)  # 256 bits
    assert made[0][1].csrf not in repr(made[0][1])


@pytest.mark.parametrize("is_secure", [False, True])
def test_the_cookie_is_for_this_host_alone_and_no_script_reads_it(is_secure):
    scheme = "https" if is_secure else "http"
    app = ShownApp().app("testserver", is_secure=is_secure)
    client = TestClient(app, base_url=f"{scheme}://testserver", follow_redirects=False)
    said = client.post("/login", data={"token": f" {TOKEN}\n"}, headers={"Origin": f"{scheme}://testserver"})
    cookie = said.headers["set-cookie"]
    assert said.status_code == 303
    assert cookie.startswith("__Host-sealora-test=" if is_secure else "sealora-test=")
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert ("Secure" in cookie.split("; ")) is is_secure
    assert "Domain" not in cookie
    assert client.get("/").status_code == 200


def test_nobody_sees_a_page_without_a_login_nor_after_the_logout():
    client = TestClient(ShownApp().app("testserver"), follow_redirects=False)
    assert client.get("/", headers={"Accept": "text/html"}).headers["location"] == "/login"
    assert client.get("/events").status_code == 401
    for path in ("/login/../", "/loginx", "/login/x", "/assetsx"):
        assert client.get(path).status_code == 401
    client.post("/login", data={"token": TOKEN}, headers=HERE)
    csrf = client.get("/").text.split('name="csrf" value="')[1].split('"')[0]
    cookie = dict(client.cookies)
    assert client.post("/logout", headers=HERE).status_code == 403
    assert client.post("/logout", data={"csrf": csrf}, headers=HERE).status_code == 303
    assert client.get("/", cookies=cookie).status_code == 401


@pytest.mark.parametrize("said", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", "é"])
def test_a_wrong_token_is_refused_after_a_second_and_not_repeated(said, monkeypatch):
    waited = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("sealora_common.web.login.asyncio.sleep", wait)
    client = TestClient(ShownApp().app("testserver"), follow_redirects=False)
    answer = client.post("/login", data={"token": said}, headers=HERE)
    assert answer.status_code == 403
    assert "That is not the token." in answer.text
    assert not said or f'"{said}"' not in answer.text
    assert waited == [1.0]
    assert "set-cookie" not in answer.headers


def test_however_many_guess_at_once_eight_are_looked_at_in_a_second():
    async def tried() -> list[int]:
        transport = httpx.ASGITransport(ShownApp().app("testserver"))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            asked = [client.post("/login", data={"token": str(n)}, headers=HERE) for n in range(40)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    codes = asyncio.run(tried())
    assert codes.count(403) == 8
    assert codes.count(429) == 32


def test_however_many_have_logged_in_another_can():
    client = TestClient(ShownApp().app("testserver"), follow_redirects=False)
    for _ in range(9):
        assert client.post("/login", data={"token": TOKEN}, headers=HERE).status_code == 303


def test_a_token_s_file_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "dashboard.token"
    token = made_token(path)
    assert len(token) == 64  # 256 bits
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made_token(path) == token_of(path) == token
    for mode in (0o640, 0o604, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(PolicyError, match="chmod 600 it"):
            made_token(path)
    path.chmod(0o600)
    for content in ("", "x" * 15, f"{'x' * 20} {'x' * 20}", f"{'x' * 20}\n{'x' * 20}", "é" * 20, f"{'x' * 20}\x1b"):
        path.write_text(content)
        with pytest.raises(PolicyError, match="holds no token: write one line"):
            token_of(path)
