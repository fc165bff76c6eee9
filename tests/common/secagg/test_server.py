"""The server's session: one bad message costs one site, memory is one accumulator, and false shares void the round."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest

from sealora_common.secagg import ProtocolError, RingVector, Segment, TooFewSitesError
from sealora_common.secagg.bodies import Opening, ShareKind, Survivors
from sealora_common.secagg.messages import Kind, open_signed

from secagg_attacker import Attacker
from secagg_runs import Federation, Run, same

FEDERATION = Federation.of(4)


def false_opening(run: Run, index: int, owner: int) -> bytes:
    """A site's opening in which the share of one owner is made up."""
    _, body = open_signed(run.answers["open"][index], Kind.OPEN, run.federation.terms, run.federation.roster)
    opened = dict(Opening.from_bytes(body).shares)
    kind, point, _ = opened[owner]
    opened[owner] = (kind, point, os.urandom(32))
    return Attacker(run.federation).signs(index, Kind.OPEN, Opening(opened).to_bytes())


def test_a_false_share_of_a_dropped_sites_key_voids_the_round() -> None:
    run = Run(FEDERATION).until("open", {3: "mask"})
    run.answers["open"] = {index: run.answer("open", index, each) for index, each in run.close("open").items()}
    for index, message in run.answers["open"].items():
        run.deliver("open", false_opening(run, 0, 3) if index == 0 else message)
    with pytest.raises(ProtocolError, match="do not restore its key"):
        run.server.open()


def test_a_false_share_of_a_self_mask_gives_noise() -> None:
    """Nothing says what a self-mask should be: the sum's own count of its survivors finds out (`contribution`)."""
    run = Run(FEDERATION).until("open")
    run.answers["open"] = {index: run.answer("open", index, each) for index, each in run.close("open").items()}
    for index, message in run.answers["open"].items():
        run.deliver("open", false_opening(run, 0, 2) if index == 0 else message)
    opened = run.server.open()
    assert not same(opened.vector, run.expected(range(4)))


@pytest.mark.parametrize("change", ["missing", "extra", "other kind"])
def test_an_opening_of_other_shares_costs_its_site(change: str) -> None:
    run = Run(FEDERATION).until("open")
    messages = {index: run.answer("open", index, each) for index, each in run.close("open").items()}
    run.answers["open"] = messages
    _, body = open_signed(messages[0], Kind.OPEN, FEDERATION.terms, FEDERATION.roster)
    opened = dict(Opening.from_bytes(body).shares)
    if change == "missing":
        del opened[2]
    elif change == "extra":
        opened[9] = opened[2]
    else:
        opened[2] = (ShareKind.MASK_KEY, *opened[2][1:])
    with pytest.raises(ProtocolError, match="other shares than it was asked for"):
        run.deliver("open", Attacker(FEDERATION).signs(0, Kind.OPEN, Opening(opened).to_bytes()))
    for index in (1, 2, 3):
        run.deliver("open", messages[index])
    assert same(run.server.open().vector, run.expected(range(4)))


def test_nothing_is_opened_with_too_few_openings() -> None:
    run = Run(FEDERATION).until("open")
    run.step("open", {0, 1})
    with pytest.raises(TooFewSitesError, match="nothing was opened"):
        run.server.open()


def test_survivors_are_those_whose_vectors_came_in() -> None:
    run = Run(FEDERATION).until("confirm", {1: "mask"})
    assert run.server.survivors == (0, 2, 3)


def test_an_opened_sum_comes_with_the_survivors_own_confirmations() -> None:
    run = Run(FEDERATION).until("open", {1: "mask"})
    run.step("open")
    opened = run.server.open()
    terms, roster = FEDERATION.terms, FEDERATION.roster
    signed = [open_signed(message, Kind.CONFIRM, terms, roster) for message in opened.confirmations]
    assert [sender for sender, _ in signed] == sorted(sender for sender, _ in signed)
    assert len(signed) >= terms.needed
    assert {Survivors.from_bytes(body).indices for _, body in signed} == {opened.survivors}
    assert {sender for sender, _ in signed} == {0, 2, 3}


def test_memory_does_not_grow_with_the_sites() -> None:
    """The server holds one accumulator: its peak with 24 sites is near that with 6."""
    segments = (Segment(200_000, 16),)
    peaks = {}
    for size in (6, 24):
        federation = Federation.of(size, segments=segments)
        run = Run(federation).until("mask")
        requests = run.close("mask")
        run.vectors = dict.fromkeys(range(size), RingVector.zeros(segments))
        messages = [run.answer("mask", index, request) for index, request in requests.items()]
        tracemalloc.start()
        for message in messages:
            run.deliver("mask", message)
        peaks[size] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[24] < 1.1 * peaks[6]


def test_a_vector_is_not_counted_before_all_of_it_was_checked() -> None:
    run = Run(FEDERATION).until("mask")
    message = run.answer("mask", 0, run.close("mask")[0])
    with pytest.raises(ProtocolError):
        run.deliver("mask", message[:-1] + bytes([message[-1] ^ 1]))
    assert not any(np.any(words) for words in run.server._sum.words)
    assert run.server.survivors == ()
