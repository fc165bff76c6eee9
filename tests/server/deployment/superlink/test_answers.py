"""A refusal is said at once, and its connection ends when what was under way has come: in bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sealora_server.deployment.superlink import answers
from sealora_server.deployment.superlink.answers import Coming, answer_empty, answer_error, lingering
from sealora_server.deployment.superlink.bodies import SMALL_BYTES

Message = dict[str, Any]


def refused(pieces: list[Message], answer: Callable[[Any], Awaitable[None]] | None = None) -> list[str]:
    """What happens in which order, where these are what there is to receive, and nothing comes after them."""
    happened: list[str] = []
    waiting = iter(pieces)

    async def receive() -> Message:
        for piece in waiting:
            happened.append("received")
            return piece
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        happened.append("started" if message["type"].endswith("start") else f"more={message.get('more_body', False)}")

    async def whole() -> None:
        lingered = lingering(Coming(receive), send)
        await (answer_empty(lingered, 401) if answer is None else answer(lingered))

    asyncio.run(asyncio.wait_for(whole(), 10))
    return happened


def piece(size: int, more: bool) -> Message:
    return {"type": "http.request", "body": bytes(size), "more_body": more}


def test_the_answer_leaves_before_the_body_is_waited_for_and_the_connection_ends_after_it() -> None:
    assert refused([piece(1, True), piece(1, False)]) == ["started", "more=True", "received", "received", "more=False"]


def test_an_error_of_flower_s_does_so_too() -> None:
    def answer(send: Any) -> Awaitable[None]:
        return answer_error({"type": "http", "method": "POST", "path": "/", "headers": []}, send, ValueError())

    assert refused([piece(9, False)], answer) == ["started", "more=True", "received", "more=False"]


def test_a_client_that_is_gone_is_not_waited_for() -> None:
    assert refused([{"type": "http.disconnect"}, piece(1, True)]) == ["started", "more=True", "received", "more=False"]


def test_who_sends_without_end_is_not_listened_to_for_long() -> None:
    happened = refused([piece(SMALL_BYTES // 4, True)] * 100)
    assert happened == ["started", "more=True", *["received"] * 4, "more=False"]


def test_who_sends_nothing_more_is_waited_for_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LINGERING_SECONDS", 0.05)
    assert refused([piece(1, True)]) == ["started", "more=True", "received", "more=False"]


def test_a_body_that_was_read_whole_is_not_waited_for() -> None:
    async def whole() -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            return piece(3, False)

        async def send(message: Message) -> None:
            sent.append(message)

        coming = Coming(receive)
        await coming()
        await asyncio.wait_for(answer_empty(lingering(coming, send), 400), answers.LINGERING_SECONDS / 2)
        return sent

    assert [message["type"] for message in asyncio.run(whole())] == ["http.response.start"] + ["http.response.body"] * 2
