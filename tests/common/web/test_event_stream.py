"""Parts of a page while it is open: one rendering for all, the latest for whoever is slow, bounded, and it ends."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from sealora_common.web import event_stream
from sealora_common.web.event_stream import EventStreams


class Listener:
    """What one connection is sent, taken as slowly as a test likes."""

    def __init__(self, last: str = "") -> None:
        self.sent: list[str] = []
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.leaves = asyncio.Event()
        self.scope = {"type": "http", "method": "GET", "headers": [(b"last-event-id", last.encode())]}

    async def send(self, message: dict) -> None:
        await self.may_take.wait()
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        elif message["body"]:
            self.sent.append(message["body"].decode())

    async def receive(self) -> dict:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    @property
    def parts(self) -> list[dict[str, str]]:
        return [json.loads(each.split("data: ")[1]) for each in self.sent if "event: parts" in each]

    @property
    def last(self) -> str:
        return [each for each in self.sent if each.startswith("id: ")][-1].split("\n")[0].removeprefix("id: ")


@asynccontextmanager
async def listening(streams: EventStreams, render, last: str = "", **words) -> AsyncIterator[Listener]:
    listener = Listener(last)
    answer = streams.response(Request(listener.scope), "page", render, **words)
    task = asyncio.create_task(answer(listener.scope, listener.receive, listener.send))
    try:
        yield listener
    finally:
        listener.may_take.set()
        listener.leaves.set()
        await asyncio.wait_for(task, 5)


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def test_what_changed_is_sent_and_nothing_else_however_many_listen():
    async def run() -> None:
        state, rendered = {"a": "1", "b": "1"}, 0

        def render() -> dict[str, str]:
            nonlocal rendered
            rendered += 1
            return dict(state)

        streams = EventStreams(every=0.05)
        async with listening(streams, render) as first, listening(streams, render) as second:
            await until(lambda: first.parts and second.parts)
            assert first.parts == second.parts == [{"a": "1", "b": "1"}]
            assert first.headers[b"x-accel-buffering"] == b"no"  # else a proxy keeps them until there are many
            state["b"] = "2"
            await until(lambda: len(first.parts) > 1 and len(second.parts) > 1)
            assert first.parts[1:] == second.parts[1:] == [{"b": "2"}]
            seen, before = first.last, rendered
            await asyncio.sleep(0.3)
            assert rendered - before <= 7  # two listeners, one producer
            assert len(first.parts) == 2
            async with listening(streams, render, seen) as third:  # it has been away
                state["a"] = "3"
                await until(lambda: third.parts)
                assert third.parts == [{"a": "3"}]
            async with listening(streams, render, f"{'0' * 8}-9") as fourth:  # as of another server
                await until(lambda: fourth.parts)
                assert fourth.parts == [{"a": "3", "b": "2"}]
            seen = first.last
        assert streams.listeners == 0
        state["b"] = "3"  # while nobody looked
        async with listening(streams, render, seen) as fifth:
            await until(lambda: fifth.parts)
            assert fifth.parts[0]["b"] == "3"

    asyncio.run(run())


def test_whoever_is_slow_gets_the_latest_and_no_queue():
    async def run() -> None:
        state = {"a": "0"}
        streams = EventStreams(every=0.02)
        async with (
            listening(streams, lambda: dict(state)) as slow,
            listening(streams, lambda: dict(state)) as quick,
        ):
            await until(lambda: slow.parts and quick.parts)
            slow.may_take.clear()
            for number in range(1, 6):
                state["a"] = str(number)
                await until(lambda: quick.parts[-1] == state)
            slow.may_take.set()
            await until(lambda: slow.parts[-1] == {"a": "5"})
            assert len(slow.parts) <= 3 < len(quick.parts)

    asyncio.run(run())


def test_listeners_are_bounded_and_all_end_when_the_server_does():
    async def run() -> None:
        streams = EventStreams(most=1, every=0.02)
        async with listening(streams, lambda: {"a": "0"}) as first:
            await until(lambda: first.parts)
            async with listening(streams, lambda: {"a": "0"}) as beyond:
                await until(lambda: beyond.status)
                assert beyond.status == 503
            streams.close()
            await until(lambda: streams.listeners == 0)
            async with listening(streams, lambda: {"a": "0"}) as late:
                await until(lambda: late.status)
                assert late.status == 503

    asyncio.run(run())


def test_a_stream_beats_and_ends_with_its_session():
    async def run() -> None:
        welcome = True
        streams = EventStreams(every=0.02, heartbeat=0.05)
        async with listening(streams, lambda: {"a": "0"}, is_welcome=lambda: welcome) as listener:
            await until(lambda: any("event: heartbeat" in each for each in listener.sent))
            welcome = False
            await until(lambda: streams.listeners == 0)

    asyncio.run(run())


def test_a_page_that_cannot_be_made_stays_as_it_was(caplog):
    async def run() -> None:
        state = {"a": "0"}

        def render() -> dict[str, str]:
            if not state:
                raise ValueError("secret")
            return dict(state)

        streams = EventStreams(every=0.02)
        async with listening(streams, render) as listener:
            await until(lambda: listener.parts)
            state.clear()
            await until(lambda: "a page could not be brought up to date (ValueError)" in caplog.text)
            state["a"] = "1"
            await until(lambda: listener.parts[-1] == {"a": "1"})

    asyncio.run(run())
    assert "secret" not in "".join(record.getMessage() for record in caplog.records)


def test_a_stream_with_news_all_the_time_ends_with_its_session_too():
    async def run() -> None:
        welcome, count = True, itertools.count()
        streams = EventStreams(every=0.01, heartbeat=0.1)
        async with listening(streams, lambda: {"a": str(next(count))}, is_welcome=lambda: welcome) as listener:
            await until(lambda: len(listener.parts) > 20)
            assert streams.listeners == 1
            welcome = False
            await until(lambda: streams.listeners == 0)

    asyncio.run(run())


def test_what_a_browser_says_that_it_has_seen_may_be_anything():
    async def run() -> None:
        streams = EventStreams(every=0.02)
        async with listening(streams, lambda: {"a": "0"}) as first:
            await until(lambda: first.parts)
            epoch = first.last.partition("-")[0]
            for version in ("", "-1", "x", "1.0", "9" * 16, "9" * 5000):
                async with listening(streams, lambda: {"a": "0"}, f"{epoch}-{version}") as other:
                    await until(lambda other=other: other.parts)

    asyncio.run(run())


def test_whoever_is_no_longer_welcome_is_told_nothing_more_however_much_there_is_to_tell():
    async def run() -> None:
        state, is_welcome = {"a": 0}, True

        def render() -> dict[str, str]:
            state["a"] += 1
            return {"a": str(state["a"])}

        streams = EventStreams(every=0.02, heartbeat=60)
        async with listening(streams, render, is_welcome=lambda: is_welcome) as listener:
            await until(lambda: len(listener.parts) > 1)
            is_welcome = False
            await until(lambda: streams.listeners == 0)

    asyncio.run(run())


def test_once_nobody_looks_nothing_is_read():
    async def run() -> None:
        rendered = 0

        def render() -> dict[str, str]:
            nonlocal rendered
            rendered += 1
            return {"a": str(rendered)}

        streams = EventStreams(every=0.01)
        async with listening(streams, render) as listener:
            await until(lambda: listener.parts)
        before = rendered
        await asyncio.sleep(0.2)
        assert rendered <= before + 1

    asyncio.run(run())


def test_a_connection_that_takes_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(event_stream, "_SEND_SECONDS", 0.1)

    async def run() -> None:
        state = {"a": "0"}
        streams = EventStreams(every=0.02)
        async with listening(streams, lambda: dict(state)) as stuck, listening(streams, lambda: dict(state)) as other:
            await until(lambda: stuck.parts and other.parts)
            stuck.may_take.clear()
            state["a"] = "1"
            await until(lambda: streams.listeners == 1)
            state["a"] = "2"
            await until(lambda: other.parts[-1] == state)

    asyncio.run(run())
