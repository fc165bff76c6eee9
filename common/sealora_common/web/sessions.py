"""Who is logged in: random names in cookies, and what this process remembers of each. A restart logs everybody out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

MOST_SESSIONS = 256
IDLE_SECONDS = 2 * 3600.0
LONGEST_SECONDS = 12 * 3600.0
_BYTES = 32


class Role(StrEnum):
    """What somebody who is logged in may do."""

    READER = "reader"
    OPERATOR = "operator"


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Session:
    """Somebody who is logged in.

    Attributes:
        role: what they may do.
        who: what they are called on pages and in records.
        subject: what a login service knows them by, whatever they are called at the moment; empty if none vouches.
        is_current: whether what let them in still stands: the session ends when it does not.
        csrf: what each form of their pages carries, so that nobody else's page can send one for them.
    """

    role: Role
    who: str
    subject: str = ""
    is_current: Callable[[], bool] = field(default=_always, repr=False)
    csrf: str = field(default_factory=lambda: secrets.token_hex(_BYTES), repr=False)

    def has_sent(self, csrf: str) -> bool:
        """Whether a form that came with `csrf` is of one of their pages."""
        return hmac.compare_digest(csrf.encode(), self.csrf.encode())


@dataclass
class _Entry:
    session: Session
    begun: float
    seen: float


class Sessions:
    """Those who are logged in: at most `MOST_SESSIONS`; of whoever has most, the one that was idle longest gives way,
    so that nobody logs others out by logging in.

    A session ends after two hours without a request and after twelve hours whatever happens. What is remembered is the
    digest of its name, so looking one up takes no time that tells of another's.

    Args:
        clock: seconds, which only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}

    def begin(
        self, role: Role, who: str, *, subject: str = "", is_current: Callable[[], bool] = _always
    ) -> tuple[str, Session]:
        """A new session, see `Session`: the name that its cookie has (256 random bits), and what is known of it."""
        self._drop_ended()
        if len(self._entries) >= MOST_SESSIONS:
            del self._entries[self._least_missed()]
        name, now = secrets.token_urlsafe(_BYTES), self._clock()
        session = Session(role, who, subject, is_current)
        self._entries[_digest(name)] = _Entry(session, now, now)
        return name, session

    def of(self, name: str) -> Session | None:
        """The session of a cookie, if it has not ended; it has been seen now."""
        self._drop_ended()
        entry = self._entries.get(_digest(name))
        if entry is None:
            return None
        if not entry.session.is_current():
            self.end(name)
            return None
        entry.seen = self._clock()
        return entry.session

    def is_open(self, session: Session) -> bool:
        """Whether a session that was found before has not ended; asking does not keep it open."""
        self._drop_ended()
        return session.is_current() and any(entry.session is session for entry in self._entries.values())

    def end(self, name: str) -> None:
        """Logs out."""
        self._entries.pop(_digest(name), None)

    def _least_missed(self) -> bytes:
        has = Counter((entry.session.role, entry.session.who) for entry in self._entries.values())

        def missed(key: bytes) -> tuple[int, float]:
            entry = self._entries[key]
            return -has[entry.session.role, entry.session.who], entry.seen

        return min(self._entries, key=missed)

    def _drop_ended(self) -> None:
        now = self._clock()
        for key, entry in list(self._entries.items()):
            if now - entry.seen > IDLE_SECONDS or now - entry.begun > LONGEST_SECONDS:
                del self._entries[key]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
