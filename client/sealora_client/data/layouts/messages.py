"""A conversation as a list of turns: what chat models are trained on elsewhere, ShareGPT's among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.layout import Layout, absent
from sealora_client.data.layouts.turns import ending_in_a_response, turns_in, with_system
from sealora_client.data.record import Record

_OTHER_NAME = "conversations"  # ShareGPT's


@dataclass(frozen=True)
class Messages(Layout):
    """A list of turns, and perhaps a system's text beside it, which counts if the list has none.

    Attributes:
        messages_field: holds the list; None for `messages`, or `conversations` where that is not there.
        system_field: may hold the system's text.
        learned: which of the assistant's turns are learned: all that are not excepted, or the last of those.
    """

    messages_field: str | None
    system_field: str
    learned: Literal["all", "last"]

    def record(self, row: Row) -> Record:
        """The last turn that is learned, after all those before it."""
        name = self.messages_field or (_OTHER_NAME if "messages" not in row.fields else "messages")
        if name not in row.fields:
            raise row.missing(self.messages_field or "messages", absent("fields"))
        *earlier, prompt, response = ending_in_a_response(row, name, turns_in(row, name))
        before = with_system(row, self.system_field, earlier)
        if self.learned == "last":
            before = tuple(replace(turn, learned=False) for turn in before)
        return Record(prompt.text, response.text, line=row.line, earlier=before)
