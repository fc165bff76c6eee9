"""The texts in an object of a data file, and what can be done to each of them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from sealora_client.data_quality.personal import PersonalPatterns
from sealora_common.recipe.sections.data import LAYOUT_FIELDS, DataSection

Change = Callable[[str], str]
_CONTENT: Final = frozenset({"content", "value", "text"})
"""Fields of a turn that hold what is said; its others say by whom."""


def text_fields(section: DataSection, fields: Mapping[str, object]) -> set[str]:
    """Names of the fields of an object that hold text which the model is shown. A label is none.

    Args:
        section: of the recipe.
        fields: the object's.
    """
    if section.layout == "prompt_response":
        if section.prompt_template is None:
            return {section.prompt_field, section.response_field}
        return set(fields) - {section.split_field, section.person_field}
    read = set(LAYOUT_FIELDS[section.layout]) - ({"label"} if section.layout == "labelled" else set())
    named = {section.fields.get(name, name) for name in read}
    if section.layout == "messages" and "messages" not in section.fields:
        named.add("conversations")
    return named


def changed(fields: Mapping[str, object], names: set[str], change: Change) -> dict[str, object]:
    """The object with `change` done to all texts in the fields of these names, within lists and turns as well."""
    return {name: _changed(value, change) if name in names else value for name, value in fields.items()}


def _changed(value: object, change: Change) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(each, change) for each in value]
    if isinstance(value, dict):
        return {name: _changed(each, change) if name in _CONTENT else each for name, each in value.items()}
    return value


def composed(text: str) -> str:
    """In Unicode's composed form (NFC): a letter and its accent are one character."""
    return unicodedata.normalize("NFC", text)


class Redaction:
    """Puts `<PHONE_NUMBER>` and the like in place of personal data.

    Args:
        patterns: that find it.
        kinds: that are replaced.

    Attributes:
        found: places of each kind that were replaced since it was last cleared.
    """

    def __init__(self, patterns: PersonalPatterns, kinds: set[str]) -> None:
        self._patterns = patterns
        self._kinds = kinds
        self.found: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        """`text` with placeholders."""
        pieces, end = [], 0
        for span in self._patterns.find(text):
            if span.kind in self._kinds:
                pieces += [text[end : span.start], f"<{span.kind}>"]
                end = span.stop
                self.found[span.kind] += 1
        return "".join([*pieces, text[end:]])
