"""Whatever is asked for: what is kept and on its way never exceeds the limit, and each node always gets its share."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from sealora_server.deployment.config import LimitsSection
from sealora_server.deployment.superlink.quotas import MOST_AT_ONCE, OverQuotaError, Quotas

NODES = 3
BYTES = 2**22
SHARE = BYTES // 2 // NODES
LIMITS = LimitsSection(superlink_bytes=BYTES, node_requests_per_second=10, node_request_burst=20)

nodes, runs, sizes = st.integers(1, NODES), st.integers(1, 2), st.integers(0, BYTES)


class Asking(RuleBasedStateMachine):
    """Bodies that arrive, that are kept, and that go again, in any order."""

    arriving = Bundle("arriving")

    def __init__(self) -> None:
        super().__init__()
        self.quotas = Quotas(LIMITS, lambda: NODES)
        self.has = dict.fromkeys(range(1, NODES + 1), 0)
        self.kept: dict[tuple[int, int], int] = {}

    @rule(target=arriving, node=nodes, size=sizes)
    def arrives(self, node: int, size: int) -> object:
        stack = ExitStack()
        try:
            stack.enter_context(self.quotas.arriving(node, size))
        except OverQuotaError:
            assert self.has[node] + size > SHARE, "a node was refused its share"
            return multiple()
        self.has[node] += size
        return node, size, stack

    @rule(body=consumes(arriving), run=runs, is_kept=st.booleans())
    def is_dealt_with(self, body: tuple[int, int, ExitStack], run: int, is_kept: bool) -> None:
        node, size, stack = body
        if is_kept:
            self.quotas.keep(node, run, size)
            self.kept[node, run] = self.kept.get((node, run), 0) + size
        else:
            self.has[node] -= size
        stack.close()

    @rule(node=nodes, run=runs)
    def is_dropped(self, node: int, run: int) -> None:
        self.quotas.drop(node, run)
        self.has[node] -= self.kept.pop((node, run), 0)

    @invariant()
    def there_is_never_more_than_the_limit(self) -> None:
        assert self.quotas.bytes == sum(self.has.values()) <= BYTES
        for (node, run), size in self.kept.items():
            assert self.quotas.kept(node, run) == size

    @invariant()
    def each_node_gets_its_share(self) -> None:
        for node, size in self.has.items():
            self.quotas.require_room(node, max(0, SHARE - size))


TestAsking = Asking.TestCase


def test_one_node_may_have_its_share_and_the_common_half_and_no_byte_more() -> None:
    quotas = Quotas(LIMITS, lambda: NODES)
    quotas.keep(1, 1, SHARE + BYTES // 2)
    with pytest.raises(OverQuotaError):
        quotas.require_room(1, 1)
    quotas.require_room(2, SHARE)
    with pytest.raises(OverQuotaError):
        quotas.require_room(2, SHARE + 1)


def test_a_node_that_asks_too_often_is_told_to_come_later() -> None:
    clock = [0.0]
    quotas = Quotas(LIMITS, lambda: NODES, clock=lambda: clock[0])

    def taken(count: int) -> int:
        found = 0
        for _ in range(count):
            try:
                with quotas.request(1):
                    found += 1
            except OverQuotaError:
                pass
        return found

    assert taken(50) == LIMITS.node_request_burst
    with quotas.request(2):  # another is not held up
        pass
    for clock[0], count in ((0.1, 1), (1.1, 10), (100.0, 20)):
        assert taken(50) == count


def test_so_is_one_that_asks_for_too_much_at_once_until_something_is_done() -> None:
    limits = LIMITS.model_copy(update={"node_request_burst": 1000})
    quotas = Quotas(limits, lambda: NODES)
    with ExitStack() as stack:
        for _ in range(MOST_AT_ONCE):
            stack.enter_context(quotas.request(1))
        with pytest.raises(OverQuotaError), quotas.request(1):
            pass
        with quotas.request(2):
            pass
    with quotas.request(1):
        pass


def test_a_request_that_fails_is_under_way_no_longer() -> None:
    quotas = Quotas(LIMITS, lambda: NODES)
    with pytest.raises(KeyError), quotas.request(1), quotas.arriving(1, 10):
        raise KeyError
    assert (quotas._nodes[1].under_way, quotas.bytes) == (0, 0)
