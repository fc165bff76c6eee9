"""That a library of the extra `data` is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sealora_common.errors import SealoraError


class MissingLibraryError(SealoraError):
    """A library that looks at texts is not installed."""


@contextmanager
def needing(package: str, purpose: str) -> Iterator[None]:
    """For the import of a library of the extra `data`.

    Args:
        package: its name at the registry.
        purpose: what it is needed for, to begin a sentence with.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingLibraryError(
            f"{purpose} needs the package {package}, which is not installed: run pip install 'sealora[data]'"
        ) from error
