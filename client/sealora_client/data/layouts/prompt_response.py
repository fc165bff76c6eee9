"""A prompt and the response wanted from the model, each in a field of its own."""

from __future__ import annotations

from dataclasses import dataclass

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.record import Record


@dataclass(frozen=True)
class PromptResponse(Layout):
    """Two fields of text.

    Attributes:
        prompt_field: holds what the model is given.
        response_field: holds what it is to say.
    """

    prompt_field: str
    response_field: str

    def record(self, row: Row) -> Record:
        """Both as they are written."""
        return Record(
            row.text(self.prompt_field, absent("prompt_field")),
            row.text(self.response_field, absent("response_field")),
            line=row.line,
        )
