"""A text and the class it belongs to, which the model learns to say in a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.record import Record


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
        """The text answered by the label's word; by the label itself, and not to be shown, if it is not named."""
        text, label = row.text(self.text_field, absent("fields")), self._label(row)
        if not self.words:
            return Record(text, label, line=row.line)
        word = self.words.get(label.strip())
        return Record(text, word or label, line=row.line, unusable="unnamed" if word is None else None)

    def _label(self, row: Row) -> str:
        value = row.fields.get(self.label_field)
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, int) else row.text(self.label_field, absent("fields"))
