"""Which layout a row is in, by the names of its fields: for whoever is told that it is not in the recipe's."""

from __future__ import annotations

from sealora_client.data.formats.format import Row
from sealora_common.recipe.sections.data import DataSection, LayoutName

_NEEDED: tuple[tuple[LayoutName, frozenset[str]], ...] = (
    ("preference", frozenset({"chosen", "rejected"})),
    ("feedback", frozenset({"completion", "label"})),
    ("labelled", frozenset({"text", "label"})),
    ("instruction", frozenset({"instruction", "output"})),
    ("messages", frozenset({"messages"})),
    ("messages", frozenset({"conversations"})),
    ("text", frozenset({"text"})),
    ("prompt_response", frozenset({"prompt", "response"})),
)
"""Fields that a layout takes, those that tell most first."""


def likelier_layout(row: Row, section: DataSection) -> LayoutName | None:
    """Another layout whose fields the row has by their own names, where it lacks some of the recipe's; None if it lacks
    none, or is in no other."""
    own = [needed for name, needed in _NEEDED if name == section.layout]
    renamed = {"prompt": section.prompt_field, "response": section.response_field} | section.fields
    if section.prompt_template is not None:
        own = [frozenset({"response"})]
    if any(all(renamed.get(field, field) in row.fields for field in needed) for needed in own):
        return None
    return next((name for name, needed in _NEEDED if name != section.layout and needed <= row.fields.keys()), None)
