"""One response to a prompt, and whether it was wanted: what is learned from thumbs up and thumbs down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.layouts.turns import conversation_in, prompt_in, with_system
from sealora_client.data.record import Record
from sealora_common.errors import DataError

_VERDICTS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


@dataclass(frozen=True)
class Feedback(Layout):
    """`prompt` and `completion`, each a text or a list of turns, and a `label`; perhaps a `system`'s text.

    The label is true or false, 1 or 0, or one of them as a text, which is all that a table in text has.

    Attributes:
        columns: the field that holds each, where it has another name.
    """

    columns: Mapping[str, str]

    def record(self, row: Row) -> Record:
        """The prompt answered by the completion, with whether it was wanted."""
        asked = prompt_in(row, self._column("prompt"))
        *earlier, prompt, response = conversation_in(
            row, self._column("completion"), asked, prompt=self._column("prompt")
        )
        before = with_system(row, self._column("system"), earlier)
        given = tuple(replace(turn, learned=False) for turn in before)
        return Record(prompt.text, response.text, line=row.line, earlier=given, wanted=self._wanted(row))

    def _wanted(self, row: Row) -> bool:
        name = self._column("label")
        if name not in row.fields:
            raise row.missing(name, absent("fields"))
        label = row.fields[name]
        verdict = _VERDICTS.get(str(label).strip().lower())
        if verdict is None:
            raise DataError(
                f'{row.place}: the field "{name}" does not say whether the response was wanted: write true or false'
            )
        return verdict

    def _column(self, name: str) -> str:
        return self.columns.get(name, name)
