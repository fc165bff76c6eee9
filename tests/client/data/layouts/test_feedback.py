"""The layout of responses that were wanted or not, on rows of no file."""

from __future__ import annotations

import pytest

from sealora_client.data.fingerprint import DataSet
from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.choice import layout_of
from sealora_client.data.record import Record, Turn
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

USER = {"role": "user", "content": "And now?"}
ASSISTANT = {"role": "assistant", "content": "Yes."}


def read(fields: dict[str, object], **names: str) -> Record:
    layout = layout_of(DataSection(layout="feedback", fields=names))
    return layout.record(Row("file, line 3", 3, fields))


@pytest.mark.parametrize(("label", "wanted"), [(True, True), (False, False), (1, True), (0, False)])
def test_a_response_with_its_verdict(label: object, wanted: bool) -> None:
    record = read({"prompt": "Now?", "completion": "Yes.", "label": label})
    assert (record.prompt, record.response, record.wanted) == ("Now?", "Yes.", wanted)


def test_turns_before_and_other_names() -> None:
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}, USER]
    record = read({"q": before, "a": [ASSISTANT], "ok": False}, prompt="q", completion="a", label="ok")
    assert record.earlier == (Turn("user", "Hello"), Turn("assistant", "Hi"))
    assert (record.prompt, record.response, record.wanted) == ("And now?", "Yes.", False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": "a", "completion": "b"}, '"label"'),
        ({"prompt": "a", "completion": "b", "label": "yes"}, "does not say whether the response was wanted"),
        ({"prompt": "a", "completion": "b", "label": 2}, "write true or false"),
        ({"prompt": "a", "completion": "b", "label": None}, "write true or false"),
        ({"completion": "b", "label": True}, '"prompt"'),
        ({"prompt": "a", "label": True}, '"completion"'),
        ({"prompt": [USER, ASSISTANT], "completion": "b", "label": True}, "ends with no turn of the user's"),
    ],
)
def test_what_is_no_feedback_is_refused_with_its_place(fields: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        read(fields)
    assert str(error.value).startswith("file, line 3")


def test_another_verdict_makes_another_record() -> None:
    fields: dict[str, object] = {"prompt": "a", "completion": "b"}
    good, bad = (DataSet.of([read({**fields, "label": label})]) for label in (True, False))
    assert good.fingerprint != bad.fingerprint
