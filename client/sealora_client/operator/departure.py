"""`departure.json`: the site's operator wants it to leave, or had it leave. It is obeyed until somebody takes it back.

A file and no message: it outlasts a restart of the process and of the machine, so a site that left does not come back
by itself, and it needs no process that listens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, Protocol

from sealora_common.config import SMALL, from_json, read_file
from sealora_common.errors import StorageError, UnreadableError, storage_error
from sealora_common.records.record import WrittenRecord
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.lock import locked
from sealora_common.storage.own_files import sync_directory

DEPARTURE: Final = "departure.json"
"""Its name in a site's directory."""
HOW_TO_RETURN: Final = "it takes part again after `sealora-site return`"
SAID_AWAY: Final = "its operator had this site leave"
"""What a process that waits says of itself begins so."""
_LOOKS_EVERY: Final = 1.0
"""Seconds."""
_LOCK: Final = ".departure.lock"
"""Of two people, each with a page of their own, one says it after the other."""
_LONGEST_WAIT: Final = 5.0

When = Literal["after-round", "now"]


class Departure(WrittenRecord):
    """A wish to leave."""

    when: When
    """After the round that the site is in, or at once."""
    asked: str
    """UTC, ISO 8601."""


class Flag(Protocol):
    """A wish to stop, as `fleet.stop.StopFlag` is one."""

    @property
    def is_set(self) -> bool: ...
    def wait(self, seconds: float | None) -> None: ...


class Leaves(Protocol):
    """What obeys, as `fleet.loop.FleetLoop` does."""

    def leave(self, wanted: bool) -> None: ...
    def stop_now(self) -> None: ...


def depart(directory: Path, when: When) -> Departure:
    """Has the site in `directory` leave. A wish to leave at once is not made a later one.

    Raises:
        StorageError: it could not be written, so the site goes on.
    """
    with locked(directory / _LOCK, seconds=_LONGEST_WAIT):
        present = departure(directory)
        if present is not None and present.when in (when, "now"):
            return present
        wish = Departure(when=when, asked=datetime.now(UTC).isoformat(timespec="seconds"))
        write_atomically(directory / DEPARTURE, wish.model_dump_json().encode() + b"\n")
    return wish


def take_part_again(directory: Path) -> bool:
    """Takes the wish back; whether there was one.

    Raises:
        StorageError: it is still there.
    """
    path = directory / DEPARTURE
    try:
        path.unlink()
        sync_directory(directory)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(path, error) from error
    return True


def departure(directory: Path) -> Departure | None:
    """The wish, if there is one. What is there and cannot be read, whatever it is, is a wish to leave after the round:
    who put it there meant something.

    Raises:
        StorageError: it cannot be told whether there is one.
    """
    path = directory / DEPARTURE
    try:
        return from_json(Departure, read_file(path, SMALL.longest))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (UnreadableError, PermissionError, IsADirectoryError):
        return Departure(when="after-round", asked="")
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}): give this account the right to") from error


def wait_until_wanted(directory: Path, stop: Flag) -> None:
    """Returns once there is no wish to leave, or `stop` is set. While it cannot be told, there still is one."""
    while not stop.is_set and _is_wanted_away(directory):
        stop.wait(_LOOKS_EVERY)


@contextmanager
def obeyed(directory: Path, who: Leaves) -> Iterator[None]:
    """While it is entered, `who` is told of a wish to leave within a second, from a thread of its own; of one that came
    while the site was starting, before it is entered."""
    over = threading.Event()
    _tell(directory, who)
    thread = threading.Thread(target=_watch, args=(directory, who, over.wait), name="departure", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=2 * _LOOKS_EVERY)


def _watch(directory: Path, who: Leaves, is_over: Callable[[float], bool]) -> None:
    while not is_over(_LOOKS_EVERY):
        if _tell(directory, who):
            return


def _tell(directory: Path, who: Leaves) -> bool:
    """Tells `who` of the wish as it is now; whether nothing can be told after it."""
    try:
        wish = departure(directory)
    except StorageError:  # said by whoever reads the directory's other files; it takes no wish back
        return False
    if wish is not None and wish.when == "now":
        who.stop_now()
        return True
    who.leave(wish is not None)
    return False


def _is_wanted_away(directory: Path) -> bool:
    try:
        return departure(directory) is not None
    except StorageError:
        return True
