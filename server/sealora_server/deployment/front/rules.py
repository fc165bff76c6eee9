"""What the embedded front counts for each address: requests against the rate, and open connections."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

_ADDRESSES = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class RateLimit:
    """A token bucket an address: `burst` requests at once, `per_second` sustained.

    Addresses that were quiet longest are forgotten once there are too many, so that memory stays bounded.

    Example:
        >>> limit = RateLimit(per_second=2, burst=2)
        >>> [limit.allows("a", now=0.0) for _ in range(3)], limit.allows("b", now=0.0), limit.allows("a", now=0.5)
        ([True, True, False], True, True)
    """

    def __init__(self, per_second: float, burst: int, addresses: int = _ADDRESSES) -> None:
        self._rate = per_second
        self._burst = float(burst)
        self._addresses = addresses
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def allows(self, address: str, now: float) -> bool:
        """Takes one request of `address` at the time `now` (seconds) if its bucket holds one."""
        bucket = self._buckets.setdefault(address, _Bucket(self._burst, now))
        self._buckets.move_to_end(address)
        if len(self._buckets) > self._addresses:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled) * self._rate)
        bucket.filled = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


class ConnectionLimit:
    """Open connections, in all and an address."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Counts a connection; returns whether it is within the limits. `leave` must follow either way."""
        self._open[address] += 1
        return self._open[address] <= self._per_address and self._open.total() <= self._total

    def leave(self, address: str) -> None:
        """The connection is closed."""
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]
