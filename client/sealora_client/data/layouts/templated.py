"""A prompt that the recipe's template makes of a record's fields, and the response in a field of its own."""

from __future__ import annotations

from dataclasses import dataclass

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.record import Record
from sealora_client.data.templates.rendering import render_text
from sealora_common.errors import DataError, SealoraError


@dataclass(frozen=True)
class TemplatedPrompt(Layout):
    """A Jinja template over the fields, and a field of text.

    Attributes:
        template: Jinja's source; every field of the record is a variable of it.
        response_field: holds what the model is to say.
    """

    template: str
    response_field: str

    def record(self, row: Row) -> Record:
        """The template with this row's fields, without white space at its ends.

        A variable that the record lacks is an error, as a prompt with a hole in it would be learned unseen.
        """
        try:
            prompt = render_text(self.template, row.fields).strip()
        except SealoraError as error:
            raise DataError(f"{row.place}: data.prompt_template fails on the record: {error}") from error
        return Record(
            row.checked_text(prompt, "what data.prompt_template makes of the record"),
            row.text(self.response_field, absent("response_field")),
            line=row.line,
        )
