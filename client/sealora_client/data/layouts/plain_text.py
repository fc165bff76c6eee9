"""Texts that stand by themselves, answering nothing: for going on with the training that made the base model."""

from __future__ import annotations

from dataclasses import dataclass

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.record import Record


@dataclass(frozen=True)
class PlainText(Layout):
    """One field of text.

    Attributes:
        text_field: holds it.
    """

    text_field: str

    def record(self, row: Row) -> Record:
        """A response to nothing."""
        return Record("", row.text(self.text_field, absent("fields")), line=row.line)
