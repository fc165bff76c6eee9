"""How a command that keeps what it has computed ends on Ctrl-C: with the command that goes on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sealora_common.show.console import SafeConsole


@contextmanager
def goes_on_with(again: Sequence[str], kept: str) -> Iterator[None]:
    """Ends the process with status 130 where what is inside was interrupted.

    Args:
        again: the command that goes on, word by word.
        kept: what is kept of it, a sentence without its full stop.

    Raises:
        SystemExit: it was interrupted.
    """
    try:
        yield
    except KeyboardInterrupt:
        SafeConsole(stderr=True).print(
            f"Stopped. {kept}. To go on:  {shlex.join(again)}", highlight=False, markup=False, soft_wrap=True
        )
        raise SystemExit(130) from None
