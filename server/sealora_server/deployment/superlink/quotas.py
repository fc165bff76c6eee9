"""What each node may take up of the SuperLink: requests, bytes on their way in, bytes kept."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sealora_server.deployment.config import LimitsSection

MOST_AT_ONCE = 16
"""Requests of one node that are under way at the same time: its parts, a heartbeat, and a question that is held."""


class OverQuotaError(Exception):
    """A node asks for more than it may have now; it may have it later."""


@dataclass
class _Node:
    tokens: float
    filled: float
    under_way: int = 0
    arriving: int = 0
    kept: dict[int, int] = field(default_factory=dict)
    """Run -> bytes."""

    @property
    def bytes(self) -> int:
        return self.arriving + sum(self.kept.values())


class Quotas:
    """Counts what nodes have, and refuses what is too much.

    Of `limits.superlink_bytes`, half is shared out: each registered node always has its part. The other half is for
    whoever comes first. So members that have turned can fill that half at most, and what is kept never exceeds the
    whole.

    Args:
        limits: the server's.
        nodes: how many are registered.
        clock: monotonic seconds.
    """

    def __init__(
        self, limits: LimitsSection, nodes: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._count = nodes
        self._clock = clock
        self._nodes: defaultdict[int, _Node] = defaultdict(
            lambda: _Node(float(limits.node_request_burst), self._clock())
        )

    @contextmanager
    def request(self, node: int) -> Iterator[None]:
        """A request of this node, for as long as it is under way.

        Raises:
            OverQuotaError: it makes too many.
        """
        limits, of = self._limits, self._nodes[node]
        now = self._clock()
        of.tokens = min(limits.node_request_burst, of.tokens + (now - of.filled) * limits.node_requests_per_second)
        of.filled = now
        if of.tokens < 1 or of.under_way >= MOST_AT_ONCE:
            raise OverQuotaError
        of.tokens -= 1
        of.under_way += 1
        try:
            yield
        finally:
            of.under_way -= 1

    @contextmanager
    def arriving(self, node: int, size: int) -> Iterator[None]:
        """A body of `size` bytes, from before it is read until it is dealt with.

        Raises:
            OverQuotaError: there is no room.
        """
        self.require_room(node, size)
        self._nodes[node].arriving += size
        try:
            yield
        finally:
            self._nodes[node].arriving -= size

    def keep(self, node: int, run: int, size: int) -> None:
        """`size` more bytes of a node's answer in a run are kept, which have just arrived."""
        kept = self._nodes[node].kept
        kept[run] = kept.get(run, 0) + size

    def kept(self, node: int, run: int) -> int:
        """Bytes that are kept of a node's answer in a run."""
        return self._nodes[node].kept.get(run, 0)

    def drop(self, node: int, run: int) -> None:
        """Nothing is kept any more of what the node answered in the run."""
        self._nodes[node].kept.pop(run, None)

    @property
    def bytes(self) -> int:
        """All that is kept or arriving."""
        return sum(node.bytes for node in self._nodes.values())

    def require_room(self, node: int, size: int) -> None:
        """Does nothing if so many more bytes of this node may be kept.

        Raises:
            OverQuotaError: there is no room.
        """
        half = self._limits.superlink_bytes // 2
        share = half // max(1, self._count())
        wanted = self._nodes[node].bytes + size
        if wanted <= share:
            return
        others = sum(max(0, other.bytes - share) for number, other in self._nodes.items() if number != node)
        if others + wanted - share > half:
            raise OverQuotaError
