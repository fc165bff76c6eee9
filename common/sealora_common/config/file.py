"""Reading a file or a stream up to a bound: what is larger is refused without being read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from sealora_common.errors import UnreadableError
from sealora_common.show.size_text import size_text

_STEP = 2**20


def read_file(path: Path, longest: int) -> bytes:
    """The content of a file of at most `longest` bytes.

    Raises:
        OSError: it cannot be read.
        UnreadableError: it is larger.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            return read_stream(file, longest)
        if found.st_size > longest:
            raise too_large(longest)
        content = file.read(found.st_size + 1)  # at once: a file of tensors is not to be in memory twice
        grown = len(content) > found.st_size
        return content + read_stream(file, longest - len(content)) if grown else content


def read_stream(stream: BinaryIO, longest: int) -> bytes:
    """What is left in a stream, of at most `longest` bytes.

    Raises:
        OSError: it cannot be read.
        UnreadableError: there is more.
    """
    content = bytearray()
    while step := stream.read(min(_STEP, longest + 1 - len(content))):
        content += step
        if len(content) > longest:
            raise too_large(longest)
    return bytes(content)


def read_line(stream: BinaryIO, longest: int) -> bytes:
    """The next line of at most `longest` bytes, with its end; nothing at the end of the stream.

    Raises:
        OSError: it cannot be read.
        UnreadableError: the line is longer.
    """
    line = stream.readline(longest + 1)
    if len(line) > longest:
        raise too_large(longest)
    return line


def why_not(error: OSError | UnreadableError) -> str:
    """Why a file could not be read, in a few words."""
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def too_large(longest: int) -> UnreadableError:
    """What to raise of a file or line that is larger than `longest` bytes."""
    return UnreadableError(f"larger than {size_text(longest)}, the most that is read")
