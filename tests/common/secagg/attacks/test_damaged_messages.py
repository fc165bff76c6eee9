"""Truncated, padded and bit-flipped messages, at every stage, to the server and to a site: all are refused.

A network that could flip a bit of a masked vector would add a value of its choice to the sum. The rules: signatures
cover every byte, the statement covers the vector, and every value has one encoding.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from sealora_common.errors import FederationError
from sealora_common.secagg import OpenedSum, ProtocolError, Segment, ServerSession
from secagg_turned import complaining, go_on, turn
from secagg_weakened import weakened

from secagg_runs import STAGES, Federation, Run, clone_server, clone_site

FEDERATION = Federation.of(4, segments=(Segment(5, 13), Segment(2, 32)))


def damaged(message: bytes, flips: int = 60) -> Iterator[bytes]:
    chosen = random.Random(len(message))
    for bit in {0, 1, 8 * len(message) - 1} | {chosen.randrange(8 * len(message)) for _ in range(flips)}:
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    for length in {0, 1, 2, 3, 39, 40, 103, 104, len(message) // 2, len(message) - 1} - {len(message)}:
        yield message[:length]
    yield from (message + b"\0", message + bytes(1 << 16), message + message, b"\0" + message, message[1:])


def before(stage: str) -> Run:
    """A round up to a stage. A site complains of another, so that there is something to disclose."""
    run = Run(FEDERATION)
    if stage == "advertise":
        return run
    run.step("advertise")
    return go_on(turn(run, {1: complaining(0)}), stage)


@pytest.mark.parametrize("stage", STAGES)
def test_no_damaged_message_is_taken_by_the_server(stage: str) -> None:
    run = before(stage)
    if stage != "advertise":
        run.close(stage)
    fresh = clone_server(run.server)
    messages = {index: run.answer(stage, index, request) for index, request in run.requests.get(stage, {}).items()} or {
        index: FEDERATION.begin(index)[1] for index in range(4)
    }
    for message in damaged(messages[0]):
        with pytest.raises(ProtocolError):
            run.deliver(stage, message)
    # None has left a trace: the server is where it was, and takes the true ones.
    assert vars(run.server).keys() == vars(fresh).keys()
    for message in messages.values():
        run.deliver(stage, message)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_no_damaged_request_is_answered_by_a_site(stage: str) -> None:
    run = before(stage)
    request = run.close(stage)[0]
    for message in damaged(request):
        run.sites[99] = clone_site(run.sites[0])
        with pytest.raises(FederationError):
            run.answer(stage, 99, message)
    del run.sites[99]
    assert run.answer(stage, 0, request)


def flip_a_bit_of_the_vector(server_class: type[ServerSession]) -> tuple[Run, OpenedSum]:
    def flip(stage: str, index: int, message: bytes) -> bytes:
        if (stage, index) != ("mask", 0):
            return message
        return message[:-8] + bytes([message[-8] ^ 1]) + message[-7:]  # the lowest bit of a 32-bit word

    run = Run(FEDERATION, on_answer=flip)
    run.server = server_class(FEDERATION.terms, FEDERATION.roster)
    return run, run.finish()


def test_a_flipped_bit_forges_the_sum_where_vectors_are_not_checked() -> None:
    careless = weakened(
        ServerSession,
        add_masked=("if statement.vector_digest != hashlib.sha256(packed).digest():", "if False:"),
    )
    run, opened = flip_a_bit_of_the_vector(careless)
    off = opened.vector.words[1] - run.expected(range(4)).words[1]
    assert np.array_equal(off, [1, 0]) or np.array_equal(off, [2**32 - 1, 0])


def test_a_flipped_bit_of_a_vector_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not the one it signed"):
        flip_a_bit_of_the_vector(ServerSession)
