"""A text and the class it belongs to, which the model learns to say in a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.record import Record
from sealora_common.errors import DataError


@dataclass(frozen=True)
class Labelled(Layout):
    """A text, and a label that is a text, a whole number or a truth value.

    Attributes:
        text_field: holds the text.
        label_field: holds the label.
        words: what the model is to say for each label, as the file writes it; if empty, the label itself.
    """

    text_field: str
    label_field: str
    words: Mapping[str, str]

    def record(self, row: Row) -> Record:
        """The text answered by the label's word."""
        return Record(row.text(self.text_field, absent("fields")), self._word(row), line=row.line)

    def _word(self, row: Row) -> str:
        value = row.fields.get(self.label_field)
        if isinstance(value, bool):
            label = "true" if value else "false"
        else:
            label = str(value) if isinstance(value, int) else row.text(self.label_field, absent("fields"))
        if not self.words:
            return label
        word = self.words.get(label.strip())
        if word is None:
            raise DataError(
                f'{row.place}: the field "{self.label_field}" holds a label that the recipe\'s data.labels does not '
                "name: add it there, or correct the record"
            )
        return word
