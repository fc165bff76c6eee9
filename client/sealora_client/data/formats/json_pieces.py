"""The parts of one large JSON text, each within bounds, without the whole of it in memory.

Nothing is built here: a part is cut out between the separators around it, and whoever takes it holds it to JSON's
grammar (`json_value`). What is wrong with one part so stays with that part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

from sealora_common.config import LINE

_STEP = 2**16
_OUTSIDE = re.compile(rb'["\[\]{},]')
_WITHIN = re.compile(rb'["\\]')


@dataclass(frozen=True)
class Piece:
    """A part, and what it ends at.

    Attributes:
        text: without what it ends at; what is beyond the bound is left out.
        end: `,`, `]` or `}`; `[` where a list begins that is to be gone into; empty at the end of the file.
        too_long: whether something was left out.
    """

    text: bytes
    end: bytes
    too_long: bool = False


class Pieces:
    """Cuts a stream.

    Args:
        stream: read from where it stands.
        longest: bytes of a piece at most.
    """

    def __init__(self, stream: BinaryIO, longest: int = LINE.longest) -> None:
        self._stream = stream
        self._longest = longest
        self._buffer = b""
        self._at = 0

    def first(self) -> bytes:
        """The next character that is no white space, taken; empty at the end."""
        while True:
            while self._at < len(self._buffer):
                mark = self._buffer[self._at : self._at + 1]
                self._at += 1
                if not mark.isspace():
                    return mark
            if not self._more():
                return b""

    def next(self, *, into_lists: bool = False) -> Piece:
        """What comes up to the next separator, or end, of what the stream is in.

        Args:
            into_lists: whether a list that is no part of another value ends the piece where it begins.
        """
        text, depth, in_string, too_long = bytearray(), 0, False, False
        start = self._at
        while True:
            found = (_WITHIN if in_string else _OUTSIDE).search(self._buffer, self._at)
            if found is None or (found[0] == b"\\" and found.end() == len(self._buffer)):
                stop = len(self._buffer) if found is None else found.start()
                too_long |= self._keep(text, start, stop)
                self._at = stop
                if not self._more():
                    return Piece(bytes(text), b"", too_long)
                start = self._at
                continue
            mark = found[0]
            self._at = found.end()
            if in_string:
                if mark == b"\\":
                    self._at += 1
                else:
                    in_string = False
                continue
            if mark == b'"':
                in_string = True
            elif depth == 0 and (mark in b",]}" or (into_lists and mark == b"[")):
                too_long |= self._keep(text, start, found.start())
                return Piece(bytes(text), mark, too_long)
            elif mark != b",":
                depth += 1 if mark in b"[{" else -1

    def _keep(self, text: bytearray, start: int, stop: int) -> bool:
        room = self._longest - len(text)
        text += self._buffer[start : min(stop, start + room)]
        return stop - start > room

    def _more(self) -> bool:
        """Reads on behind what is not yet taken."""
        step = self._stream.read(_STEP)
        self._buffer = self._buffer[self._at :] + step
        self._at = 0
        return bool(step)
