"""What the embedded front counts for each address: requests against the rate, and open connections."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
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


class Slot:
    """One connection's place among those that may be open."""

    def __init__(self, address: str, since: float, close: Callable[[], None]) -> None:
        self.address = address
        self.since = since
        self.close = close
        self.is_known = False
        self.has_left = False


class ConnectionLimit:
    """Open connections, in all and an address, counted from the moment they are accepted.

    Half of all places are for connections on which a registered node was heard: so many strangers there may be at
    most. Where there is one more, the oldest stranger of the address that has the most of them goes: a node whose
    connection is new is heard within a second, and a crowd of strangers drives out itself.

    Args:
        total: places.
        per_address: most places of one address.
        per_second: new connections of an address, sustained; `per_address` may come at once.
    """

    def __init__(self, total: int, per_address: int, per_second: float) -> None:
        self._total = total
        self._per_address = per_address
        self._rate = RateLimit(per_second, per_address)
        self._open: Counter[str] = Counter()
        self._strangers: defaultdict[str, OrderedDict[Slot, None]] = defaultdict(OrderedDict)

    def enter(self, address: str, now: float, close: Callable[[], None]) -> Slot | None:
        """A place for a new connection, or None if its address has too many or comes too often.

        Args:
            address: of the client.
            now: seconds.
            close: ends the connection at once; called when its place is needed.
        """
        if not self._rate.allows(address, now) or self._open[address] >= self._per_address:
            return None
        slot = Slot(address, now, close)
        self._open[address] += 1
        self._strangers[address][slot] = None
        strangers = sum(map(len, self._strangers.values()))
        if strangers > self._total // 2 or self._open.total() > self._total:
            most = max(self._strangers.values(), key=len)
            driven_out = next(iter(most))
            self.leave(driven_out)
            driven_out.close()
        return slot

    def know(self, slot: Slot) -> None:
        """A registered node was heard on the connection."""
        if not slot.is_known:
            slot.is_known = True
            self._forget_stranger(slot)

    def leave(self, slot: Slot | None) -> None:
        """The connection is closed. It may be said more than once."""
        if slot is None or slot.has_left:
            return
        if not slot.is_known:
            self._forget_stranger(slot)
        slot.has_left = True
        self._open[slot.address] -= 1
        if self._open[slot.address] <= 0:
            del self._open[slot.address]

    def _forget_stranger(self, slot: Slot) -> None:
        of = self._strangers[slot.address]
        of.pop(slot, None)
        if not of:
            del self._strangers[slot.address]
