"""The layout that a row is in, where it is in another than the recipe's, is named beside what is missing."""

from __future__ import annotations

import pytest

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.likely import likelier_layout
from sealora_client.data.records import read_records
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

PLAIN = DataSection()


@pytest.mark.parametrize(
    ("section", "fields", "expected"),
    [
        (PLAIN, ("instruction", "input", "output"), "instruction"),
        (PLAIN, ("conversations",), "messages"),
        (PLAIN, ("messages", "tools"), "messages"),
        (PLAIN, ("prompt", "chosen", "rejected"), "preference"),
        (PLAIN, ("prompt", "completion", "label"), "feedback"),
        (PLAIN, ("text", "label"), "labelled"),
        (PLAIN, ("prompt", "response", "text"), None),
        (PLAIN, ("question", "answer"), None),
        (DataSection(prompt_field="frage", response_field="text"), ("frage", "text"), None),
        (DataSection(prompt_template="{{ a }}"), ("a", "response", "text"), None),
        (DataSection(layout="messages"), ("prompt", "response"), "prompt_response"),
        (DataSection(layout="messages"), ("conversations", "text"), None),
        (DataSection(layout="preference"), ("chosen", "rejected", "text"), None),
        (DataSection(layout="text", fields={"text": "note"}), ("note", "messages"), None),
        (DataSection(layout="text", fields={"text": "note"}), ("nota", "messages"), "messages"),
    ],
)
def test_another_layout_is_named_where_the_recipes_lacks_a_field(section, fields, expected):
    assert likelier_layout(Row("here", 1, dict.fromkeys(fields, "x")), section) == expected


def test_the_sentence_on_a_missing_field_names_it(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n' * 2)
    with pytest.raises(DataError) as raised:
        read_records(path, PLAIN)
    said = str(raised.value)
    assert '"prompt" is missing' in said
    assert "the record has the fields of the layout instruction: is the recipe's data.layout right?) (so too" in said
