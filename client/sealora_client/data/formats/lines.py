"""The lines of a text file, each bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from sealora_common.config import LINE, read_line, too_large
from sealora_common.errors import UnreadableError

_STEP = 2**20


def lines_of(stream: BinaryIO) -> Iterator[bytes | UnreadableError]:
    """Each line with its end; of one that is longer than a line may be, what to say in its place.

    Raises:
        OSError: the stream cannot be read.
    """
    while True:
        try:
            line: bytes | UnreadableError = read_line(stream, LINE.longest)
        except UnreadableError:
            while (rest := stream.readline(_STEP)) and not rest.endswith(b"\n"):
                pass
            line = too_large(LINE.longest)
        if not line:
            return
        yield line
