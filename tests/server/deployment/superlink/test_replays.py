"""Each signed time of a node is let through once, for as long as Flower takes it, and costs strangers no memory."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER

from sealora_server.deployment.superlink.replays import LONGEST_SECONDS, RefuseReplays


class Counting:
    """An application that counts what reaches it and answers with a status, or raises."""

    def __init__(self, status: int | None = 200) -> None:
        self.reached = 0
        self.status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached += 1
        await asyncio.sleep(0)
        if self.status is None:
            raise ConnectionError
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def headers(key: str = "key", signed_at: str | None = "noon") -> list[tuple[bytes, bytes]]:
    found = [(FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode(), key.encode())]
    return found + ([] if signed_at is None else [(TIMESTAMP_HEADER.lower().encode(), signed_at.encode())])


def spelt(key: bytes) -> str:
    return b64encode(key).decode()


async def ask(app: RefuseReplays, given: list[tuple[bytes, bytes]], kind: str = "http") -> int:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": kind, "headers": given}, None, send)  # type: ignore[arg-type]
    return int(sent[0]["status"])


def statuses(app: RefuseReplays, *requests: list[tuple[bytes, bytes]]) -> list[int]:
    async def one_after_another() -> list[int]:
        return [await ask(app, request) for request in requests]

    return asyncio.run(one_after_another())


def test_a_signed_time_counts_once_whatever_it_is_put_before() -> None:
    app = Counting()
    one, other, later = headers(spelt(b"one")), headers(spelt(b"two")), headers(spelt(b"one"), "one past noon")
    signature = [(b"flwr-signature", b"another one of the same")]
    assert statuses(RefuseReplays(app), one, one, one + signature, other, later, later) == [
        200, 401, 401, 200, 200, 401,
    ]  # fmt: skip
    assert app.reached == 3


def test_another_spelling_of_the_key_is_the_same_key() -> None:
    """Two texts in base64 may stand for the same bytes: the last two bits of `QQ==` are not looked at."""
    assert statuses(RefuseReplays(Counting()), headers("QQ=="), headers("QR==")) == [200, 401]


def test_of_two_that_come_at_once_one_is_let_through() -> None:
    async def at_once() -> list[int]:
        app = RefuseReplays(Counting())
        return await asyncio.gather(*(ask(app, headers(spelt(b"one"))) for _ in range(5)))

    assert sorted(asyncio.run(at_once())) == [200, 401, 401, 401, 401]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_was_refused_may_come_again_and_is_not_remembered(status: int) -> None:
    app = Counting(status)
    guard = RefuseReplays(app)
    assert statuses(guard, headers(spelt(b"one")), headers(spelt(b"one"))) == [status, status]
    assert app.reached == 2
    assert guard._seen == set()
    assert not guard._ages


@pytest.mark.parametrize("status", [200, 302, 500, 503])
def test_what_may_have_had_an_effect_is_remembered(status: int) -> None:
    assert statuses(RefuseReplays(Counting(status)), headers(spelt(b"one")), headers(spelt(b"one"))) == [status, 401]


def test_so_is_what_broke_off() -> None:
    guard = RefuseReplays(Counting(None))
    with pytest.raises(ConnectionError):
        statuses(guard, headers(spelt(b"one")))
    assert statuses(guard, headers(spelt(b"one"))) == [401]


def test_it_is_remembered_for_as_long_as_flower_takes_it_and_no_longer() -> None:
    assert LONGEST_SECONDS == TIMESTAMP_TOLERANCE + 2 * SYSTEM_TIME_TOLERANCE
    clock = [0.0]
    guard = RefuseReplays(Counting(), clock=lambda: clock[0])
    assert statuses(guard, headers(spelt(b"one"))) == [200]
    clock[0] = LONGEST_SECONDS
    assert statuses(guard, headers(spelt(b"one"))) == [401]
    clock[0] += 0.1
    assert statuses(guard, headers(spelt(b"one"))) == [200]
    assert len(guard._seen) == len(guard._ages) == 1


@pytest.mark.parametrize("given", [[], headers("no base64!"), headers(spelt(b"one"), None)])
def test_what_is_not_signed_is_left_to_flower(given: list[tuple[bytes, bytes]]) -> None:
    app = Counting(401)
    assert statuses(RefuseReplays(app), given, given) == [401, 401]
    assert app.reached == 2


def test_lifespan_passes() -> None:
    app = Counting()
    assert asyncio.run(ask(RefuseReplays(app), headers(spelt(b"one")), "lifespan")) == 200
