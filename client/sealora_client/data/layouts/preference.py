"""Two responses to one prompt, the first better than the second: what preferences are learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.layouts.turns import ending_in_a_response, turns_in
from sealora_client.data.record import Record, Turn
from sealora_common.errors import DataError


@dataclass(frozen=True)
class Preference(Layout):
    """`prompt`, `chosen` and `rejected`, each a text or a list of turns.

    The prompt may be left out where the other two are whole conversations that differ in their last turn alone.

    Attributes:
        columns: the field that holds each, where it has another name.
    """

    columns: Mapping[str, str]

    def record(self, row: Row) -> Record:
        """The prompt answered by the chosen response, with the rejected one beside it."""
        before = self._prompt(row)
        chosen, rejected = (self._conversation(row, name, before) for name in ("chosen", "rejected"))
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
        given = tuple(replace(turn, learned=False) for turn in earlier)
        return Record(prompt.text, response.text, line=row.line, earlier=given, rejected=rejected[-1].text)

    def _prompt(self, row: Row) -> tuple[Turn, ...]:
        name = self._column("prompt")
        value = row.fields.get(name)
        if value is None:
            return ()
        if isinstance(value, list):
            return turns_in(row, name)
        return (Turn("user", row.text(name, absent("fields"))),)

    def _conversation(self, row: Row, name: str, before: tuple[Turn, ...]) -> tuple[Turn, ...]:
        """All its turns, from the prompt's first to the response."""
        column = self._column(name)
        if isinstance(row.fields.get(column), list):
            turns = turns_in(row, column, before)
        else:
            turns = (*before, Turn("assistant", row.text(column, absent("fields")), learned=True))
        if not turns[:-1]:
            raise row.missing(self._column("prompt"), absent("fields"))
        if turns[-2].role == turns[-1].role:
            raise DataError(f'{row.place}: "{self._column("prompt")}" ends with no turn of the user\'s: drop the rest')
        return ending_in_a_response(row, column, turns)

    def _column(self, name: str) -> str:
        return self.columns.get(name, name)
