"""The layout with a field for the prompt and one for the response, on rows of no file."""

from __future__ import annotations

import pytest

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.choice import layout_of
from sealora_client.data.record import Record
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

FORMAT = layout_of(DataSection(prompt_field="q", response_field="a"))


def row(**fields: object) -> Row:
    return Row("here, line 3", 3, fields)


def test_a_record_has_its_line_and_nobody_yet():
    record = FORMAT.record(row(q=" why? ", a="so", person="Ada", split="train"))
    assert record == Record(" why? ", "so")
    assert (record.line, record.person, record.texts) == (3, None, (" why? ", "so"))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"a": "so"},
            r'the field "q" is missing: add it, or name the .* data\.prompt_field$',
        ),
        ({"q": "why?"}, r'the field "a" is missing: .* data\.response_field$'),
        ({"q": " ", "a": "so"}, r'the field "q" is not a non-empty string'),
        ({"q": "why?", "a": 7}, r'the field "a" is not a non-empty string'),
        ({"q": "why?", "a": "\ud800"}, r'the field "a" holds half of a surrogate pair'),
    ],
)
def test_what_is_no_record_is_told_by_its_place(fields, why):
    with pytest.raises(DataError, match="^here, line 3: " + why):
        FORMAT.record(row(**fields))
