"""An instruction, perhaps an input that it is about, and the output wanted: the layout that Alpaca made known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.record import Record, Turn
from sealora_common.errors import DataError


@dataclass(frozen=True)
class Instruction(Layout):
    """Texts `instruction` and `output`, and if they are there `input`, `system` and `history`.

    The prompt is the instruction, a blank line and the input, which may be blank. `history` is a list of pairs: what
    the user said before, and what was answered.

    Attributes:
        columns: the field that holds each, where it has another name.
    """

    columns: Mapping[str, str]

    def record(self, row: Row) -> Record:
        """The instruction with its input answered by the output, after the turns of the history."""
        instruction = row.text(self._column("instruction"), absent("fields"))
        about = row.text_if_any(self._column("input"))
        system = row.text_if_any(self._column("system"))
        return Record(
            prompt=instruction if about is None else f"{instruction}\n\n{about}",
            response=row.text(self._column("output"), absent("fields")),
            line=row.line,
            earlier=(*(() if system is None else (Turn("system", system),)), *self._history(row)),
        )

    def _history(self, row: Row) -> list[Turn]:
        name = self._column("history")
        pairs = row.fields.get(name)
        if pairs is None:
            return []
        turns: list[Turn] = []
        if not isinstance(pairs, list):
            raise DataError(f'{row.place}: the field "{name}" is not a list of pairs of texts: write [[said, answer]]')
        for number, pair in enumerate(pairs, 1):
            if not (isinstance(pair, list) and len(pair) == 2):
                raise DataError(f'{row.place}: entry {number} of "{name}" is not a pair of texts: write [said, answer]')
            said, answer = (row.checked_text(text, f'entry {number} of "{name}"') for text in pair)
            turns += [Turn("user", said), Turn("assistant", answer, learned=True)]
        return turns

    def _column(self, name: str) -> str:
        return self.columns.get(name, name)
