"""`sent.jsonl`: every message that left the site, a line each: when, of which kind and run, how many bytes.

A line is on the disk before its message is sent; a message that no server took in the end stands here too. That a line
cannot be written is no reason not to send, and the site's own log says it: whoever reads this compares it with ledger,
history and outbox, which no vector leaves without. A server can ask without end: beyond a size the file becomes
`sent.1.jsonl`, and the one that was called so is gone. What was released of records stays in the ledger for good.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealora_common.config import LINE, from_json
from sealora_common.errors import StorageError, UnreadableError
from sealora_common.records.json_lines import JsonLinesTail
from sealora_common.records.record import WrittenRecord
from sealora_common.storage.durable import append_whole_lines, rename_durably

SENT_LOG: Final = "sent.jsonl"
SENT_BEFORE: Final = "sent.1.jsonl"
_LARGEST: Final = 2**20


class SentMessage(WrittenRecord):
    """One message."""

    at: str
    """UTC, ISO 8601."""
    kind: str
    """The stage that it answers, as `wire_format.Action` names it, without `query.`."""
    run: str | None = None
    """The run's id; null where the message is of none."""
    round: int | None = None
    bytes: int
    """Of its content, as it is sent, without what the network adds."""
    refused: bool = False
    """Whether all that it says is one sentence on why the site does not do what was asked."""


@dataclass(frozen=True)
class SentMessages:
    """What is known.

    Attributes:
        messages: in the order in which they left.
        is_whole: whether earlier ones have not been dropped, and each line could be read.
    """

    messages: tuple[SentMessage, ...]
    is_whole: bool


class SentLog:
    """The log in one site's directory.

    Args:
        directory: the site's.
        largest: bytes from which on it begins anew.
    """

    def __init__(self, directory: Path, largest: int = _LARGEST) -> None:
        self._file, self._before = directory / SENT_LOG, directory / SENT_BEFORE
        self._largest = largest

    def note(self, message: SentMessage) -> None:
        """Adds a message that is about to leave.

        Raises:
            StorageError: it could not be written.
        """
        if _size(self._file) >= self._largest:
            rename_durably(self._file, self._before)
        line = message.model_dump_json(exclude_defaults=True).encode()
        append_whole_lines(self._file, lambda _: [line])

    def read(self) -> SentMessages:
        """All of it. A last line that was cut by a crash is passed over: its message did not leave.

        Raises:
            StorageError: a file of it is there and cannot be read.
        """
        lines = []
        for path in (self._before, self._file):
            require_readable(path)
            lines += JsonLinesTail(path).read()
        messages = tuple(_messages(lines))
        return SentMessages(messages, is_whole=not self._before.exists() and len(messages) == len(lines))


def require_readable(path: Path) -> None:
    """Makes sure that what a file holds is not taken for nothing.

    Raises:
        StorageError: it is there and cannot be read.
    """
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}): give this account the right to") from error


def _messages(lines: list[bytes]) -> Iterator[SentMessage]:
    for line in lines:
        try:
            yield from_json(SentMessage, line, LINE)
        except UnreadableError:
            continue


def _size(file: Path) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return 0
