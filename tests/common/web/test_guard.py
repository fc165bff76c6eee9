"""What reaches a page at all, and what every answer says of itself."""

from __future__ import annotations

import asyncio
import logging

import pytest
from shown import TOKEN, ShownApp
from starlette.testclient import TestClient

from sealora_common.web import guard
from sealora_common.web.guard import PageGuard
from sealora_common.web.hosts import is_known_host, known_names

HERE = {"Origin": "http://testserver"}


@pytest.fixture
def shown() -> ShownApp:
    return ShownApp()


@pytest.fixture
def client(shown: ShownApp) -> TestClient:
    return TestClient(shown.app("testserver"), follow_redirects=False)


def logged_in(client: TestClient) -> TestClient:
    assert client.post("/login", data={"token": TOKEN}, headers=HERE).status_code == 303
    return client


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("localhost", True),
        ("LOCALHOST.:1", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8000", True),
        ("Ward.example:8080", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example:80", False),
        ("localhost:99999999", False),
        ("", False),
    ],
)
def test_a_host_is_known_by_its_address_or_a_name_that_was_said(host, is_known):
    assert is_known_host([host], known_names(["ward.example."])) is is_known
    assert not is_known_host([host, host], known_names([host]))
    assert not is_known_host([], known_names([host]))


def test_a_name_that_is_not_known_is_answered_nothing(client):
    answer = client.get("/login", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert "evil" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "https://testserver"},
        {"Origin": "http://testserver:81"},
        {**HERE, "Sec-Fetch-Site": "cross-site"},
        {**HERE, "Sec-Fetch-Site": "same-site"},
        {**HERE, "Sec-Fetch-Site": "none"},
    ],
)
def test_a_form_of_another_page_is_refused_even_with_the_token(client, headers):
    assert client.post("/login", data={"token": TOKEN}, headers=headers).status_code == 403
    assert client.cookies == {} or not dict(client.cookies)


def test_a_form_of_our_page_is_taken_once_it_carries_what_the_session_has(client, shown):
    logged_in(client)
    csrf = client.get("/").text.split('name="csrf" value="')[1].split('"')[0]
    assert client.post("/act", data={"what": "stop"}, headers=HERE).status_code == 403
    assert client.post("/act", data={"what": "stop", "csrf": "0" * 64}, headers=HERE).status_code == 403
    assert client.post("/act", data={"what": "stop", "csrf": csrf}, headers={}).status_code == 403
    assert shown.did == []
    assert client.post("/act", data={"what": "stop", "csrf": csrf}, headers=HERE).status_code == 200
    assert shown.did == ["stop"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_answered(client, method):
    answer = client.request(method, "/login", headers=HERE)
    assert (answer.status_code, answer.text) == (405, "Nothing here is done by that method.\n")


def test_a_form_that_is_too_large_is_refused_before_anything_reads_it(client):
    assert client.post("/login", content=b"token=" + b"x" * 5000, headers=HERE).status_code == 413
    assert client.post("/login", content=b"&".join([b"a=1"] * 1000), headers=HERE).status_code == 403


@pytest.mark.parametrize("path", ["/login", "/", "/events", "/nothing", "/fail", "/assets/none.css"])
def test_every_answer_says_what_a_browser_may_do_with_it(client, path):
    client = TestClient(client.app, follow_redirects=False, raise_server_exceptions=False)
    if path == "/fail":
        logged_in(client)
    headers = client.get(path).headers
    assert set(headers["content-security-policy"].split("; ")) == {
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_what_was_asked_is_in_no_log(client, caplog):
    client = logged_in(TestClient(client.app, follow_redirects=False, raise_server_exceptions=False))
    with caplog.at_level(logging.DEBUG):
        answer = client.get("/fail?token=abcdef")
    assert answer.status_code == 500
    assert "abcdef" not in answer.text
    assert "a page failed (ValueError)" in caplog.text
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("sealora"))
    assert "abcdef" not in ours


def test_style_and_script_are_kept_for_good_under_the_name_of_their_content(client):
    page = client.get("/login").text
    for name, kind in (("style", "css"), ("live", "js")):
        path = next(part for part in page.split('"') if part.startswith(f"/assets/{name}.") and part.endswith(kind))
        answer = client.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert client.get(path.replace(".", ".0", 1)).status_code == 404


FORM = {"type": "http.request", "body": b"typed=r1", "more_body": True}
POST = {"type": "http", "method": "POST", "headers": [(b"host", b"localhost"), (b"origin", b"http://localhost")]}


def guarded(app, *received, scope=POST) -> list[dict]:
    """What is sent to somebody of whom these messages come and then nothing."""
    left, sent = list(received), []

    async def receive() -> dict:
        return left.pop(0) if left else await asyncio.Future()

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(PageGuard(app, [])(scope, receive, send), 5))
    return sent


async def nobody(scope, receive, send) -> None:
    raise AssertionError("this was let through")


def test_a_form_that_does_not_come_whole_is_given_to_nobody(monkeypatch):
    """`typed=r1` may be what arrived of `typed=r10`."""
    monkeypatch.setattr(guard, "_BODY_SECONDS", 0.05)
    assert guarded(nobody, FORM, {"type": "http.disconnect"}) == []
    started, body = guarded(nobody, FORM)
    assert started["status"] == 408
    assert b"within 0.05 seconds: send it again" in body["body"]


def test_a_page_that_fails_in_the_middle_of_its_answer_is_broken_off():
    async def half(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-content-type-options", b"none")]})
        raise ValueError

    (started,) = guarded(half, scope={**POST, "method": "GET"})
    assert (b"x-content-type-options", b"nosniff") in started["headers"]
    assert (b"x-content-type-options", b"none") not in started["headers"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (f"token={TOKEN}", 303),
        (f"token={TOKEN}&token=x", 303),
        (f"token=x&token={TOKEN}", 403),
        ("a=1&" * 64 + f"token={TOKEN}", 403),
        (f"token={TOKEN}&a=".encode() + b"\xff", 403),
    ],
)
def test_of_a_form_the_first_field_of_a_name_counts_and_what_none_of_ours_is_counts_nothing(client, content, status):
    assert client.post("/login", content=content, headers=HERE).status_code == status
