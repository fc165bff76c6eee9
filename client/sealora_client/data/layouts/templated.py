"""A prompt that the recipe's template makes of a record's fields, and the response in a field of its own."""

from __future__ import annotations

from dataclasses import dataclass

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.record import Record
from sealora_client.data.templates.rendering import render_text
from sealora_common.errors import SealoraError


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

        A variable that the record lacks is an error, as a prompt with a hole in it would be learned unseen. A record on
        which it fails, or of which it makes no text, is not to be shown.
        """
        response = row.text(self.response_field, absent("response_field"))
        try:
            prompt = row.checked_text(render_text(self.template, row.fields).strip(), "what the template makes of it")
        except SealoraError:
            return Record("", response, line=row.line, unusable="prompt_template")
        return Record(prompt, response, line=row.line)
