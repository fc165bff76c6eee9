"""Which requests either front passes on, and which it refuses, each tried on the real process."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time

import pytest
from front_bench import KINDS, started_front

from sealora_server.deployment.superlink.paths import FLEET_PATHS

from front_requests import BODY_BYTES, LIMITS, PATH, head, status_of


@pytest.mark.parametrize("path", sorted(FLEET_PATHS))
def test_every_fleet_path_is_passed_on_as_it_came(front, path):
    with front.client() as client:
        answer = client.post(path, content=b"\x00\x01body", headers={"flwr-signature": "s", "content-type": "a/b"})
    assert (answer.status_code, answer.content) == (200, b"\x00\x01body")
    assert answer.headers["flwr-answer"] == "yes"
    [seen] = front.superlink.requests
    assert (seen.method, seen.path, seen.body) == ("POST", path, b"\x00\x01body")
    assert (seen.headers["flwr-signature"], seen.headers["content-type"]) == ("s", "a/b")


REFUSED = [
    ("POST", "/v1/control/start-run"),
    ("POST", "/v1/control/register-node"),
    ("POST", "/v1/runtime/acquire-task"),
    ("POST", "/v1/runtime/pull-messages"),
    ("POST", "/v1/fleet/"),
    ("POST", "/v1/fleet/pull-messages/"),
    ("POST", "/v1/fleet/pull-messages2"),
    ("POST", "/V1/FLEET/pull-messages"),
    ("POST", "//v1/fleet/pull-messages/../../control/start-run"),
    ("POST", "/v1/fleet/../control/start-run"),
    ("POST", "/v1/fleet/%2e%2e/control/start-run"),
    ("POST", "/v1/fleet/..%2fcontrol%2fstart-run"),
    ("GET", PATH),
    ("PUT", PATH),
    ("DELETE", PATH),
    ("POST", "/healthz"),
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/health"),
    ("GET", "/metrics"),
    ("POST", "/sealora/open-fleet"),
]


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_nothing_else_is(front, method, path):
    with front.connect() as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        assert status_of(connection) == 403
    assert front.superlink.requests == []


@pytest.mark.parametrize("spelling", ["/v1/fleet/%70ull-messages", f"{PATH}?a=b", "/v1/control/../fleet/pull-messages"])
def test_another_spelling_of_a_fleet_path_comes_out_as_the_path_itself_or_not_at_all(front, spelling):
    with front.connect() as connection:
        connection.sendall(f"POST {spelling} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        status = status_of(connection)
    assert [(seen.path, seen.query) for seen in front.superlink.requests] == [(PATH, "")] * (status == 200)
    assert status in {200, 403}


def test_an_absolute_target_or_another_host_changes_nothing(front):
    with front.connect() as connection:
        connection.sendall(b"POST https://other/v1/control/start-run HTTP/1.1\r\nHost: superlink\r\n\r\n")
        assert status_of(connection) in {400, 403}
    assert front.superlink.requests == []


def test_healthz_says_whether_the_superlink_answers(front):
    with front.client() as client:
        assert client.get("/healthz").status_code == 200
        [seen] = front.superlink.requests
        assert (seen.method, seen.path) == ("GET", "/health")
        front.superlink.answer = front.superlink.slowly  # answers, though it takes its time to end
        front.superlink.go_on.set()
        assert client.get("/healthz").status_code == 200


def test_a_body_over_the_limit_is_refused_before_it_is_read(front):
    with front.connect() as connection:
        connection.sendall(head(f"Content-Length: {BODY_BYTES + 1}"))
        assert status_of(connection) == 413
    assert not any(seen.whole for seen in front.superlink.requests)


def test_a_body_at_the_limit_is_passed_on(front):
    with front.client(timeout=10) as client:
        assert len(client.post(PATH, content=bytes(BODY_BYTES)).content) == BODY_BYTES


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(front):
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with front.connect() as connection:
        connection.sendall(head("Transfer-Encoding: chunked"))
        with contextlib.suppress(OSError):
            for _ in range(BODY_BYTES // 0x10000 + 4):
                connection.sendall(chunk)
            connection.sendall(b"0\r\n\r\n")
        with contextlib.suppress(OSError):
            assert status_of(connection) == 413
    time.sleep(0.1)
    assert not any(seen.whole for seen in front.superlink.requests)


def test_a_chunked_body_below_the_limit_is_passed_on(front):
    with front.client() as client:
        assert client.post(PATH, content=iter([b"a", b"bc"])).content == b"abc"


@pytest.mark.parametrize("size", [5000, 20_000, 200_000])
def test_headers_over_the_limit_are_refused(front, size):
    with front.connect() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(head(f"X-Long: {'a' * size}", "Content-Length: 0"))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert status_of(connection) == 400
    assert front.superlink.requests == []


def test_headers_below_the_limit_are_passed_on(front):
    with front.client() as client:
        assert client.post(PATH, headers={"x-long": "a" * 2000}).status_code == 200


MALFORMED = {
    "no HTTP": b"\x16\x03\x01 nonsense\r\n\r\n",
    "a binary flood": bytes(range(256)) * 100,
    "a length that is none": b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "a negative length": b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "a length and chunks": b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is none": b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: x\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_request_is_refused(front, what):
    with front.connect() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(MALFORMED[what])
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert status_of(connection) in {400, 405, 408, 413, 501, None}
    assert not any(seen.whole for seen in front.superlink.requests)


def test_a_body_is_streamed_to_the_superlink(front):
    with front.connect() as connection:
        connection.sendall(head("Content-Length: 10") + b"12345")
        assert front.superlink.first_chunk.wait(timeout=5)
        assert not front.superlink.requests[0].whole
        connection.sendall(b"67890")
        assert status_of(connection) == 200
    assert front.superlink.requests[0].body == b"1234567890"


def test_an_answer_is_streamed_back(front):
    front.superlink.answer = front.superlink.slowly
    with front.client(timeout=10) as client, client.stream("POST", PATH) as answer:
        chunks = answer.iter_raw()
        assert next(chunks) == b"first"
        front.superlink.go_on.set()
        assert b"".join(chunks) == b"second"


def test_many_requests_at_once_all_get_their_own_answers(front):
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        with front.client(timeout=20) as client:
            for turn in range(5):
                body = f"{number}-{turn}".encode() * 1000
                assert client.post(PATH, content=body).content == body
            answers[number] = body

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(10))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_requests_over_the_rate_are_told_to_come_later(kind, tmp_path):
    limits = LIMITS.model_copy(update={"requests_per_second": 2, "request_burst": 10})
    with started_front(kind, tmp_path / "server", limits) as front, front.client() as client:
        statuses = [client.post(PATH).status_code for _ in range(30)]
        assert 8 <= statuses.count(200) <= 15
        assert statuses.count(503) == 30 - statuses.count(200)
        assert len(front.superlink.requests) == statuses.count(200)
        time.sleep(1.1)
        assert client.post(PATH).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_superlink_that_is_not_there_makes_502(kind, tmp_path):
    front = started_front(kind, tmp_path / "server", LIMITS, superlink_is_up=False)
    with front as started, started.client(timeout=10) as client:
        assert client.post(PATH).status_code == 502
        assert client.get("/healthz").status_code == 502
