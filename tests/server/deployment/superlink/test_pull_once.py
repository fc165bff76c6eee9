"""A question that comes again is answered as it was; whatever else is asked reaches Flower as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sealora_common.wire_format import PULL_ID
from sealora_server.deployment.superlink.pull_once import PULL, PullOnce


class Mailbox:
    """An application that hands out each of its messages once."""

    def __init__(self, *statuses: int, delay: float = 0.0) -> None:
        self.asked = 0
        self._statuses = list(statuses)
        self._delay = delay

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        number = self.asked
        await asyncio.sleep(self._delay)
        status = self._statuses.pop(0) if self._statuses else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"x-number", b"%d" % number)]})
        await send({"type": "http.response.body", "body": b"message ", "more_body": True})
        await send({"type": "http.response.body", "body": b"%d" % number})


async def ask(app: PullOnce, pull_id: str | None, *, key: str | None = "berlin", path: str = PULL) -> tuple[int, str]:
    headers = [] if pull_id is None else [(PULL_ID.encode(), pull_id.encode())]
    headers += [] if key is None else [(b"flwr-public-key", key.encode())]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    await app({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


def asked(app: PullOnce, *questions: Any, **options: Any) -> list[tuple[int, str]]:
    async def all_of_them() -> list[tuple[int, str]]:
        return [await ask(app, question, **options) for question in questions]

    return asyncio.run(all_of_them())


def test_the_same_question_gets_the_same_answer_and_the_next_a_new_one() -> None:
    mailbox = Mailbox()
    first, second = (200, "message 1"), (200, "message 2")
    assert asked(PullOnce(mailbox), "a", "a", "a", "b", "b") == [first, first, first, second, second]
    assert mailbox.asked == 2


def test_only_the_last_answer_is_kept() -> None:
    assert asked(PullOnce(Mailbox()), "a", "b", "a") == [(200, f"message {number}") for number in (1, 2, 3)]


def test_a_node_is_not_given_another_s_answer() -> None:
    app = PullOnce(Mailbox())
    assert asked(app, "a", key="berlin") == [(200, "message 1")]
    assert asked(app, "a", key="lyon") == [(200, "message 2")]


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusal_is_not_kept(status: int) -> None:
    app = PullOnce(Mailbox(status))
    assert asked(app, "a", "a") == [(status, "message 1"), (200, "message 2")]


def test_strangers_leave_nothing_behind() -> None:
    app = PullOnce(Mailbox(*[401] * 100))
    for number in range(100):
        asked(app, "a", key=f"stranger {number}")
    assert len(app._nodes) == len(app._asking) == 0


@pytest.mark.parametrize(
    "question", [{"pull_id": None}, {"pull_id": "a", "key": None}, {"pull_id": "a", "path": "/v1/fleet/push-messages"}]
)
def test_every_other_request_goes_through(question: dict[str, Any]) -> None:
    mailbox = Mailbox()
    app = PullOnce(mailbox)

    async def twice() -> None:
        for _ in range(2):
            await ask(app, **question)

    asyncio.run(twice())
    assert mailbox.asked == 2


def test_a_question_that_overtakes_the_answer_to_its_first_attempt_waits_for_it() -> None:
    mailbox = Mailbox(delay=0.05)
    app = PullOnce(mailbox)

    async def at_once() -> list[tuple[int, str]]:
        return list(await asyncio.gather(ask(app, "a"), ask(app, "a")))

    assert asyncio.run(at_once()) == [(200, "message 1")] * 2
    assert mailbox.asked == 1
