"""`seen-rosters.json`: which rosters this site has used, so that it takes no older one and no other of the same number.

The rules are `sealora_common.roster.SeenRosters`'; here is the file. Whoever puts a roster in use remembers it first.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sealora_common.config import LINE, from_json, read_file
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.roster import Roster, SeenRosters
from sealora_common.storage.durable import write_atomically
from sealora_common.storage.lock import locked

SEEN = "seen-rosters.json"
"""Its name in a site's directory."""
_LOCK = "seen-rosters.lock"


def read_seen(directory: Path) -> SeenRosters:
    """What the site in `directory` has used; nothing if it has used no roster.

    Raises:
        StorageError: the file cannot be read.
    """
    path = directory / SEEN
    try:
        return from_json(SeenRosters, read_file(path, LINE.longest))
    except FileNotFoundError:
        return SeenRosters()
    except (OSError, UnreadableError):
        raise StorageError(
            f"{path}: cannot be read, so nothing tells which rosters this site has used: put it back from a backup, "
            "or compare the roster's fingerprint with the coordinator's and remove the file"
        ) from None


def check_roster(directory: Path, roster: Roster, at: datetime, file: Path | None = None) -> None:
    """Refuses a roster that has expired, or contradicts those that the site in `directory` has used. Writes nothing.

    Args:
        directory: the site's.
        roster: signed by its coordinator.
        at: the time, with its time zone.
        file: where the roster lies; None: roster.json in the site's directory.

    Raises:
        PolicyError: it may not be used.
        StorageError: what was used cannot be read.
    """
    where = f"{file or directory / 'roster.json'}: "
    roster.require_current(at, where)
    read_seen(directory).require(roster, where)


def remember_roster(directory: Path, roster: Roster) -> None:
    """Notes, durably, that the site uses `roster` from here on. Of several processes each sees what the others noted.

    Raises:
        PolicyError: it contradicts one that has been used.
        StorageError: the note could not be read or written.
    """
    with locked(directory / _LOCK, seconds=None):
        seen = read_seen(directory)
        seen.require(roster, f"{directory / 'roster.json'}: ")
        after = seen.after(roster)
        if after != seen:
            write_atomically(directory / SEEN, after.model_dump_json(indent=2).encode() + b"\n", mode=0o600)
