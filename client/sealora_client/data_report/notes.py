"""What a person is told of their data beside the numbers, gathered while it is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sealora_client.data_quality.missing import MissingLibraryError


@dataclass
class Notes:
    """Sentences, in the order in which they came up.

    Attributes:
        problems: what stops a run.
        remarks: what a person should look into.
        left_out: what was not looked at, and what to do about it.
    """

    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @contextmanager
    def or_left_out(self) -> Iterator[None]:
        """What needs a library that is not installed is left out, and said to be."""
        try:
            yield
        except MissingLibraryError as error:
            self.left_out.append(str(error))


def share(count: int, of: int) -> str:
    """How many of the records, in numbers and per cent.

    >>> share(3, 12)
    '3 of 12 records (25.0%)'
    """
    return f"{count} of {of} records ({count / of:.1%})"
