"""What is dealt with in threads of its own: a node's requests one after the other, and answers stored one by one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fleet_bench import FleetBench, name_of, tree
from flwr.proto.fleet_pb2 import PushMessagesRequest

from sealora_server.deployment.superlink.replies import NotYoursError

LARGE = 5000
"""Names of parts that make a request too large for the event loop itself."""


class Overlap:
    """How many were in it at once."""

    def __init__(self) -> None:
        self.most = 0
        self._inside = 0
        self._lock = threading.Lock()

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, made to take a moment."""

        def slowly(*arguments: Any, **rest: Any) -> Any:
            with self._lock:
                self._inside += 1
                self.most = max(self.most, self._inside)
            try:
                time.sleep(0.1)
                return call(*arguments, **rest)
            finally:
                with self._lock:
                    self._inside -= 1

        return slowly


def large(bench: FleetBench, node: int, run: int) -> PushMessagesRequest:
    request = bench.answer(node, run, bench.order(run, node)).request
    request.message_object_trees[0].children.extend(tree(name_of(number)) for number in range(LARGE))
    return request


def refused(node: int, request: PushMessagesRequest) -> None:
    raise NotYoursError


async def pushed(bench: FleetBench, *asked: tuple[int, PushMessagesRequest]) -> list[int | None]:
    answers = await asyncio.gather(*(bench.post("push-messages", request, node) for node, request in asked))
    return [answer.status for answer in answers]


def test_a_node_s_large_requests_are_dealt_with_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, overlap = FleetBench(), Overlap()
    node, run = bench.node(), bench.run()
    request = large(bench, node, run)
    monkeypatch.setattr(bench.fleet.replies, "begin", overlap.around(refused))
    assert asyncio.run(pushed(bench, *[(node, request)] * 4)) == [403] * 4
    assert overlap.most == 1


def test_a_node_does_not_hold_up_another(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FleetBench()
    run = bench.run()
    nodes = [bench.node(), bench.node()]
    requests = [(node, large(bench, node, run)) for node in nodes]
    both = threading.Barrier(2, timeout=20)

    def met(node: int, request: PushMessagesRequest) -> None:
        both.wait()
        raise NotYoursError

    monkeypatch.setattr(bench.fleet.replies, "begin", met)
    assert asyncio.run(pushed(bench, *requests)) == [403] * 2


def test_two_nodes_answers_are_not_stored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or both would find that a part is not there yet."""
    bench, overlap = FleetBench(), Overlap()
    run = bench.run()
    answers = [(node, bench.answer(node, run, bench.order(run, node)).request) for node in (bench.node(), bench.node())]
    stored = bench.state.store_message_and_object_tree
    monkeypatch.setattr(bench.state, "store_message_and_object_tree", overlap.around(stored))
    threads = [threading.Thread(target=bench.fleet.replies.begin, args=each) for each in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert overlap.most == 1
    assert all((node, run) in bench.fleet.replies._latest for node, _ in answers)
