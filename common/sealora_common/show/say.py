"""How a command speaks: every line that it prints goes through here or through `SafeConsole`."""

from __future__ import annotations

import sys
from typing import TextIO

from sealora_common.show.safe_text import safe_json, safe_text

_LONGEST = 2**20


def say(text: object, *, lines: bool = False, to: TextIO | None = None) -> None:
    """Prints one line, or with `lines` as many as `text` has, made safe, to standard output or the stream `to`."""
    stream = to or sys.stdout
    shown = safe_text(str(text), _LONGEST, lines=lines)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(shown.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()


def say_json(text: str) -> None:
    """Prints JSON for a program: nothing is lost, and what would steer a terminal is escaped."""
    in_ascii = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    for line in text.split("\n"):
        sys.stdout.write(safe_json(line, in_ascii=in_ascii) + "\n")
    sys.stdout.flush()
