"""What reading records asks of a layout."""

from __future__ import annotations

from typing import Protocol

from sealora_client.data.formats.format import Row
from sealora_client.data.record import Record


class Layout(Protocol):
    """Which fields of an object make a record, and how."""

    def record(self, row: Row) -> Record:
        """The record in `row`, with its line and without its person. It depends on this row alone.

        Raises:
            DataError: it is none; the sentence begins with the row's place.
        """


def absent(setting: str) -> str:
    """What to do about a field that is not there, to end a sentence with.

    Args:
        setting: of the recipe's section `data`, which names the field.
    """
    return f"add it, or name the right field in the recipe's data.{setting}"
