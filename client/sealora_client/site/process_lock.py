"""One process a site."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sealora_common.errors import PolicyError
from sealora_common.storage.lock import LockedError, locked

LOCK = "site.lock"
"""Held by the one process that runs a site."""
_LOOKED_AT = 0.1
"""Seconds after which it is tried once more: `sealora-site status` holds it for an instant, to see if it is free."""


@contextmanager
def only_process(directory: Path) -> Iterator[None]:
    """Makes sure that one process at a time runs the site in `directory`.

    Raises:
        PolicyError: another one does.
        StorageError: the lock cannot be made.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(directory / LOCK, seconds=_LOOKED_AT))
        except LockedError:
            raise PolicyError(
                f"{directory}: another process runs this site already: stop it first, or leave it at work"
            ) from None
        yield
