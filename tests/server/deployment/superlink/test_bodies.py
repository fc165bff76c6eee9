"""A body comes whole, in time and within its size, or the request ends; its sender cannot make it last."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fleet_bench import LIMITS, FleetBench, posted
from hypothesis import given
from hypothesis import strategies as st

from sealora_server.deployment.superlink.bodies import (
    LEAST_BYTES_PER_SECOND,
    SMALL_BYTES,
    BodyTooLargeError,
    BodyTooSlowError,
    ClientGoneError,
    most_bytes,
    read_body,
)


class Drip:
    """A body that comes in chunks, each after a while."""

    def __init__(self, *chunks: bytes, every: float = 0.0, gone: bool = False) -> None:
        self._chunks, self._every, self._gone = list(chunks), every, gone

    async def __call__(self) -> Any:
        await asyncio.sleep(self._every)
        if not self._chunks:
            return {"type": "http.disconnect"}
        chunk = self._chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks) or self._gone}


def read(receive: Any, most: int, seconds: float = 5.0) -> bytes:
    return asyncio.run(read_body(receive, most, seconds))


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=10))
def test_a_body_is_its_chunks(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert read(Drip(*chunks), len(whole)) == whole
    if whole:
        with pytest.raises(BodyTooLargeError):
            read(Drip(*chunks), len(whole) - 1)


def test_a_body_that_drips_has_no_longer_than_one_that_stops() -> None:
    """Each byte in time for the next one does not help: the whole has a time."""
    with pytest.raises(BodyTooSlowError):
        read(Drip(*[b"a"] * 1000, every=0.01), 1000, 0.2)
    with pytest.raises(BodyTooSlowError):
        read(Drip(b"a", every=10.0), 1000, 0.1)


def test_a_large_body_has_longer_at_the_least_rate() -> None:
    """With half a second too little for its drips, but the time of its size."""
    chunks = [b"a"] * 5
    with pytest.raises(BodyTooSlowError):
        read(Drip(*chunks, every=0.08), SMALL_BYTES, 0.2)
    assert read(Drip(*chunks, every=0.08), SMALL_BYTES + LEAST_BYTES_PER_SECOND, 0.2) == b"aaaaa"


def test_a_client_that_goes_before_its_body_is_whole_is_gone() -> None:
    with pytest.raises(ClientGoneError):
        read(Drip(b"abc", gone=True), 10)


def lengths(*values: bytes) -> Iterator[tuple[bytes, bytes]]:
    return iter([(b"Content-Length", value) for value in values])


def test_a_body_is_as_large_as_it_says_or_as_it_may_be() -> None:
    assert most_bytes(lengths(b"5"), 10) == 5
    assert most_bytes(lengths(b"10"), 10) == 10
    assert most_bytes(lengths(), 10) == 10


@given(
    st.one_of(st.integers(min_value=11).map(lambda each: b"%d" % each), st.binary().filter(lambda b: not b.isdigit()))
)
def test_what_is_more_or_no_length_is_refused_before_it_is_read(length: bytes) -> None:
    with pytest.raises(BodyTooLargeError):
        most_bytes(lengths(length), 10)


@pytest.mark.parametrize("digits", [19, 5000])
def test_a_length_of_more_digits_than_any_is_no_length(digits: int) -> None:
    """Python converts no text of more than 4,300 digits, and says so by an error of its own."""
    with pytest.raises(BodyTooLargeError):
        most_bytes(lengths(b"5".rjust(digits, b"0")), 10)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(
    ("action", "limit"), [("pull-messages", SMALL_BYTES), ("push-object", 2**20), ("push-messages", 2**21)]
)
def test_each_path_takes_a_body_of_its_size(action: str, limit: int, chunked: bool) -> None:
    bench = FleetBench(LIMITS.model_copy(update={"body_bytes": 2**20}))
    node = bench.node()
    statuses = []
    for size in (limit, limit + 1):
        body = b"\x0a" * size  # no message
        headers = [*bench.signed(node), (b"content-type", b"application/protobuf")]
        if not chunked:
            headers.append((b"content-length", b"%d" % size))
        chunks = [body[at : at + 2**17] for at in range(0, size, 2**17)]
        statuses.append(asyncio.run(posted(bench.fleet, action, chunks, headers)).status)
    assert statuses == [400, 413]
    assert bench.fleet.quotas.bytes == 0


def test_a_body_that_is_late_is_answered_and_one_whose_client_went_is_not() -> None:
    bench = FleetBench(LIMITS.model_copy(update={"body_seconds": 0.1}))
    node = bench.node()

    async def silent() -> Any:
        await asyncio.sleep(5)

    async def ask(receive: Any) -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [*bench.signed(node), (b"content-type", b"application/protobuf"), (b"content-length", b"10")]
        scope = {"type": "http", "method": "POST", "path": "/v1/fleet/push-object", "headers": headers}
        await bench.fleet(scope, receive, send)
        return sent

    late = asyncio.run(ask(silent))
    assert (late[0]["status"], (b"connection", b"close") in late[0]["headers"]) == (408, True)
    assert asyncio.run(ask(Drip())) == []
    assert bench.fleet.quotas.bytes == 0
    assert bench.fleet.quotas._nodes[node].under_way == 0
