"""Two responses to one prompt, the first better than the second: what preferences are learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout
from sealora_client.data.layouts.turns import conversation_in, prompt_in, with_system
from sealora_client.data.record import Record
from sealora_common.errors import DataError


@dataclass(frozen=True)
class Preference(Layout):
    """`prompt`, `chosen` and `rejected`, each a text or a list of turns, and perhaps a `system`'s text.

    The prompt may be left out where the other two are whole conversations that differ in their last turn alone.

    Attributes:
        columns: the field that holds each, where it has another name.
    """

    columns: Mapping[str, str]

    def record(self, row: Row) -> Record:
        """The prompt answered by the chosen response, with the rejected one beside it."""
        prompt_column = self._column("prompt")
        asked = prompt_in(row, prompt_column)
        chosen, rejected = (
            conversation_in(row, self._column(name), asked, prompt=prompt_column) for name in ("chosen", "rejected")
        )
        if chosen[:-1] != rejected[:-1]:
            raise DataError(
                f'{row.place}: "{self._column("chosen")}" and "{self._column("rejected")}" differ in more than their '
                "last turn: give both the same turns before it"
            )
        if chosen[-1] == rejected[-1]:
            raise DataError(
                f'{row.place}: "{self._column("chosen")}" and "{self._column("rejected")}" are the same: drop the '
                "record, of which nothing can be learned"
            )
        *earlier, prompt, response = chosen
        # A preference is about the last response; what led to it is given.
        before = with_system(row, self._column("system"), earlier)
        given = tuple(replace(turn, learned=False) for turn in before)
        return Record(prompt.text, response.text, line=row.line, earlier=given, rejected=rejected[-1].text)

    def _column(self, name: str) -> str:
        return self.columns.get(name, name)
