"""What a site's loop must know after a crash: which session was its own, and which message it had in hand.

It holds no secrets and nothing about the data. It lets a restarted site go on with its former session, where
Flower would refuse it another for a minute, and tell the server at once that what was in hand is lost, where the
server would wait for it until the stage's deadline.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from pydantic import Base64Bytes, BaseModel, ConfigDict

from sealora_client.fleet.flower import Metadata, metadata_from_bytes, metadata_to_bytes
from sealora_common.config import LINE, from_json, read_file
from sealora_common.errors import UnreadableError
from sealora_common.storage.durable import write_atomically

SESSION_RECORD = "fleet.json"
"""Its name in a site's directory."""
_REMEMBERED = 64

log = logging.getLogger(__name__)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str
    host: str
    place: str = ""
    """Which directory of the host's it was written in: a copy of it is another, and does not own the session."""
    node_id: int | None = None
    """The node of the session that is open, or was when the site died."""
    handled: tuple[str, ...] = ()
    in_hand: Base64Bytes | None = None


def _place(directory: Path) -> str:
    """Names a directory so that a copy has another name, on this machine and in all that it has mounted."""
    try:
        return f"{directory.resolve()} {directory.stat().st_ino}"
    except OSError:  # whoever writes to it says what is wrong
        return ""


class SessionRecord:
    """The session record in one site's directory. One of another server is dropped.

    Args:
        directory: the site's.
        server: the address of the server's front.
        host: the machine's name; None: as it calls itself.
    """

    def __init__(self, directory: Path, server: str, host: str | None = None) -> None:
        self._path = directory / SESSION_RECORD
        read = self._read()
        here = {"host": host or socket.gethostname(), "place": _place(directory)}
        self._entry = read if read is not None and read.server == server else _Entry(server=server, **here)
        if (self._entry.host, self._entry.place) != (here["host"], here["place"]):  # the session may be alive there
            self._entry = self._entry.model_copy(update={**here, "node_id": None, "in_hand": None})

    @property
    def open_node(self) -> int | None:
        """The node of the session that this site has not ended, if any."""
        return self._entry.node_id

    @property
    def in_hand(self) -> Metadata | None:
        """The message that was taken and not answered, if any."""
        if self._entry.in_hand is None:
            return None
        try:
            return metadata_from_bytes(self._entry.in_hand)
        except ValueError:
            return None

    def handled(self, message_id: str) -> bool:
        """Whether a message was taken before."""
        return message_id in self._entry.handled

    def opened(self, node_id: int) -> None:
        """Notes the node of a session.

        Raises:
            StorageError: (by this and all that follow) it cannot be written.
        """
        self._write(node_id=node_id)

    def take(self, metadata: Metadata) -> None:
        """Notes, before any work, that a message is in hand."""
        handled = (*self._entry.handled, metadata.message_id)[-_REMEMBERED:]
        self._write(handled=handled, in_hand=metadata_to_bytes(metadata))

    def done(self) -> None:
        """Notes that the message in hand is answered."""
        if self._entry.in_hand is not None:
            self._write(in_hand=None)

    def closed(self) -> None:
        """Notes that the session was ended properly."""
        self._write(node_id=None, in_hand=None)

    def _write(self, **changes: object) -> None:
        entry = self._entry.model_copy(update=changes)
        write_atomically(self._path, entry.model_dump_json().encode(), mode=0o600)
        self._entry = entry

    def _read(self) -> _Entry | None:
        try:
            return from_json(_Entry, read_file(self._path, LINE.longest))
        except FileNotFoundError:
            return None
        except (OSError, UnreadableError):  # it only saves time: a site can do without
            log.warning("%s: cannot be read; going on without it", self._path)
            return None
