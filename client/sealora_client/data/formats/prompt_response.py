"""A prompt and the response wanted from the model, each in a field of its own."""

from __future__ import annotations

from dataclasses import dataclass

from sealora_client.data.formats.format import DataFormat, Row
from sealora_client.data.record import Record


@dataclass(frozen=True)
class PromptResponse(DataFormat):
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
            row.text(self.prompt_field, _absent("prompt_field")),
            row.text(self.response_field, _absent("response_field")),
            line=row.line,
        )


def _absent(setting: str) -> str:
    return f"add it, or name the right field in the recipe's data.{setting}"
