"""Each layout on rows of no file: the record that it makes of one, and what it refuses, by its place."""

from __future__ import annotations

import pytest

from sealora_client.data.formats.format import Row
from sealora_client.data.layouts.choice import layout_of
from sealora_client.data.record import Record, Turn
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection


def record(section: DataSection, **fields: object) -> Record:
    return layout_of(section).record(Row("here, line 3", 3, fields))


def said(text: str) -> Turn:
    return Turn("user", text)


def answered(text: str, *, learned: bool = True) -> Turn:
    return Turn("assistant", text, learned=learned)


def m(role: str, content: object, **more: object) -> dict[str, object]:
    return {"role": role, "content": content, **more}


INSTRUCTION = DataSection(layout="instruction")
MESSAGES = DataSection(layout="messages")
PREFERENCE = DataSection(layout="preference")
FEEDBACK = DataSection(layout="feedback")
U, A = m("user", "why?"), m("assistant", "so")


@pytest.mark.parametrize(
    ("section", "fields", "expected"),
    [
        (INSTRUCTION, {"instruction": "Add", "input": "1 2", "output": "3"}, Record("Add\n\n1 2", "3")),
        (INSTRUCTION, {"instruction": "Add", "input": " ", "output": "3"}, Record("Add", "3")),
        (INSTRUCTION, {"instruction": "Add", "input": None, "output": "3"}, Record("Add", "3")),
        (
            INSTRUCTION,
            {"instruction": "c", "output": "d", "system": "S", "history": [["a", "b"]]},
            Record("c", "d", earlier=(Turn("system", "S"), said("a"), answered("b"))),
        ),
        (
            DataSection(layout="instruction", fields={"instruction": "frage", "output": "antwort"}),
            {"frage": "a", "antwort": "b", "instruction": 7},
            Record("a", "b"),
        ),
        (MESSAGES, {"messages": [U, A]}, Record("why?", "so")),
        (MESSAGES, {"messages": [m("system", "S"), U, A]}, Record("why?", "so", earlier=(Turn("system", "S"),))),
        (MESSAGES, {"messages": [m("system", " "), U, A]}, Record("why?", "so")),
        (MESSAGES, {"messages": [U, A], "system": "S"}, Record("why?", "so", earlier=(Turn("system", "S"),))),
        (
            MESSAGES,
            {"messages": [m("system", "T"), U, A], "system": "S"},
            Record("why?", "so", earlier=(Turn("system", "T"),)),
        ),
        (
            MESSAGES,
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            Record("a", "b"),
        ),
        (
            MESSAGES,
            {"messages": [U, A, m("user", "c"), m("assistant", "d")]},
            Record("c", "d", earlier=(said("why?"), answered("so"))),
        ),
        (
            MESSAGES,
            {"messages": [U, m("assistant", "so", weight=0), m("user", "c"), m("assistant", "d", weight=1)]},
            Record("c", "d", earlier=(said("why?"), answered("so", learned=False))),
        ),
        # What comes after the last turn that is learned teaches nothing.
        (MESSAGES, {"messages": [U, A, m("user", "c"), m("assistant", "d", train=False)]}, Record("why?", "so")),
        (
            DataSection(layout="messages", learned_turns="last"),
            {"messages": [U, A, m("user", "c"), m("assistant", "d")]},
            Record("c", "d", earlier=(said("why?"), answered("so", learned=False))),
        ),
        (
            MESSAGES,
            {"messages": [m("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), A]},
            Record("ab", "so"),
        ),
        # What a table of Arrow has in every turn because one has it is nothing where it is null.
        (
            MESSAGES,
            {"messages": [U | {"tool_calls": None}, A | {"tool_calls": []}], "tools": "[]"},
            Record("why?", "so"),
        ),
        (
            PREFERENCE,
            {"prompt": [U], "chosen": A, "rejected": m("assistant", "no"), "system": "S"},
            Record("why?", "so", rejected="no", earlier=(Turn("system", "S"),)),
        ),
        (
            FEEDBACK,
            {"prompt": "a", "completion": "b", "label": "False", "system": "S"},
            Record("a", "b", wanted=False, earlier=(Turn("system", "S"),)),
        ),
        (FEEDBACK, {"prompt": "a", "completion": "b", "label": 1.0}, Record("a", "b", wanted=True)),
        (
            DataSection(layout="feedback", fields={"completion": "conversations", "label": "kto_tag"}),
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "kto_tag": True},
            Record("a", "b", wanted=True),
        ),
        (DataSection(layout="text"), {"text": "a note\n"}, Record("", "a note\n")),
        (DataSection(layout="text", fields={"text": "note"}), {"note": "a"}, Record("", "a")),
        (DataSection(layout="labelled"), {"text": "a", "label": "ill"}, Record("a", "ill")),
        (DataSection(layout="labelled"), {"text": "a", "label": 3}, Record("a", "3")),
        (DataSection(layout="labelled", labels={"0": "no", "1": "yes"}), {"text": "a", "label": 1}, Record("a", "yes")),
        (DataSection(layout="labelled", labels={"true": "yes"}), {"text": "a", "label": True}, Record("a", "yes")),
        (PREFERENCE, {"prompt": "a", "chosen": "b", "rejected": "c"}, Record("a", "b", rejected="c")),
        (PREFERENCE, {"chosen": [U, A], "rejected": [U, m("assistant", "no")]}, Record("why?", "so", rejected="no")),
        (
            PREFERENCE,
            {"prompt": [U], "chosen": [A], "rejected": [m("assistant", "no")]},
            Record("why?", "so", rejected="no"),
        ),
        (
            PREFERENCE,
            {"prompt": [m("system", "S"), U, A, m("user", "c")], "chosen": "d", "rejected": "e"},
            Record("c", "d", rejected="e", earlier=(Turn("system", "S"), said("why?"), answered("so", learned=False))),
        ),
        (
            DataSection(prompt_template="{{ a }} of {{ b | upper }}\n{% for c in d %}- {{ c }}\n{% endfor %}"),
            {"a": "one", "b": "two", "d": ["x", "y"], "response": "r"},
            Record("one of TWO\n- x\n- y", "r"),
        ),
    ],
)
def test_a_row_makes_the_record_that_is_meant(section, fields, expected):
    found = record(section, **fields)
    assert found == expected
    assert found.line == 3


@pytest.mark.parametrize(
    ("section", "fields", "why"),
    [
        (INSTRUCTION, {"output": "3"}, 'the field "instruction" is missing: add it, or name'),
        (INSTRUCTION, {"instruction": "a", "output": 3}, 'the field "output" is not a non-empty string'),
        (INSTRUCTION, {"instruction": "a", "output": "b", "input": 3}, 'the field "input" is not a non-empty string'),
        (
            INSTRUCTION,
            {"instruction": "a", "output": "b", "history": "x"},
            'the field "history" is not a list of pairs',
        ),
        (INSTRUCTION, {"instruction": "a", "output": "b", "history": [["x"]]}, 'entry 1 of "history" is not a pair'),
        (INSTRUCTION, {"instruction": "a", "output": "b", "history": [["x", 1]]}, 'entry 1 of "history" is not a non-'),
        (MESSAGES, {}, 'the field "messages" is missing'),
        (MESSAGES, {"messages": "hi"}, 'the field "messages" is not a list of turns'),
        (MESSAGES, {"messages": []}, 'the field "messages" is not a list of turns'),
        (MESSAGES, {"messages": ["hi"]}, 'turn 1 of "messages" has no "role" and "content"'),
        (MESSAGES, {"messages": [{"role": "user"}]}, 'turn 1 of "messages" has no "role" and "content"'),
        (MESSAGES, {"messages": [U, m("tool", "x")]}, 'turn 2 of "messages" has a role other than'),
        (MESSAGES, {"messages": [U, m(None, "x")]}, 'turn 2 of "messages" has a role other than'),
        (MESSAGES, {"messages": [U, m("assistant", None)]}, 'turn 2 of "messages" is not a non-empty string'),
        (MESSAGES, {"messages": [U, m("assistant", " ")]}, 'turn 2 of "messages" is not a non-empty string'),
        (MESSAGES, {"messages": [U, m("assistant", "\ud800")]}, 'turn 2 of "messages" holds half of a surrogate pair'),
        (
            MESSAGES,
            {"messages": [m("user", [{"type": "image", "url": "x"}]), A]},
            'turn 1 of "messages" has a part that is no text',
        ),
        (
            MESSAGES,
            {"messages": [U, m("assistant", "a", tool_calls=[{"id": "1"}])]},
            'turn 2 of "messages" has "tool_c',
        ),
        (
            MESSAGES,
            {"messages": [U, m("assistant", None, tool_calls=[{"id": "1"}])]},
            'turn 2 of "messages" has "tool_',
        ),
        (
            MESSAGES,
            {"messages": [U, m("assistant", "a", function_call={"name": "f"})]},
            'turn 2 of "messages" has "fun',
        ),
        (
            MESSAGES,
            {"messages": [U, m("assistant", "a", reasoning_content="hm")]},
            'turn 2 of "messages" has "reasoning',
        ),
        (
            MESSAGES,
            {"messages": [U, m("assistant", "a", train_detail=[{"train": 0}])]},
            'turn 2 of "messages" has "train_',
        ),
        (MESSAGES, {"messages": [U, A], "tools": [{"name": "f"}]}, 'the field "tools" names tools, which the model is'),
        (
            MESSAGES,
            {"messages": [U, A], "tools": '[{"name": "f"}]'},
            'the field "tools" names tools, which the model is',
        ),
        (
            MESSAGES,
            {"messages": ' [{"role": "user", "content": "a"}]'},
            'the field "messages" is not a list of turns: if it is JSON in a text, name it in json_fields',
        ),
        (FEEDBACK, {"prompt": "a", "completion": "b", "label": "good"}, 'the field "label" does not say whether'),
        (FEEDBACK, {"prompt": "a", "completion": "b", "label": -1}, 'the field "label" does not say whether'),
        (FEEDBACK, {"prompt": "a", "completion": "b", "label": None}, 'the field "label" does not say whether'),
        (DataSection(), {"Prompt": "a", "response": "b"}, 'the field "prompt" is missing, did you mean "Prompt"?: add'),
        (
            DataSection(),
            {"prompt": "a", "response": 7},
            'the field "response" is not a non-empty string but a whole num',
        ),
        (
            DataSection(),
            {"prompt": "a", "response": ["b"]},
            'the field "response" is not a non-empty string but a list',
        ),
        (MESSAGES, {"messages": [A]}, '"messages" begins with the assistant\'s turn'),
        (MESSAGES, {"messages": [U, U, A]}, '"messages" has two turns of the user\'s in a row'),
        (MESSAGES, {"messages": [U, A, A]}, '"messages" has two turns of the assistant\'s in a row'),
        (
            MESSAGES,
            {"messages": [U, m("system", "S"), A]},
            '"messages" has a turn of the system\'s that is not its first',
        ),
        (MESSAGES, {"messages": [U, A, U]}, '"messages" ends with no turn of the assistant\'s'),
        (MESSAGES, {"messages": [U]}, '"messages" ends with no turn of the assistant\'s'),
        (MESSAGES, {"messages": [m("system", "S")]}, '"messages" ends with no turn of the assistant\'s'),
        (MESSAGES, {"messages": [m("system", "")]}, '"messages" has no turn of the assistant\'s that is to be learned'),
        (MESSAGES, {"messages": [U, m("assistant", "a", weight=0)]}, '"messages" has no turn of the assistant\'s that'),
        (
            MESSAGES,
            {"messages": [U, m("assistant", "a", weight=0.5)]},
            'turn 2 of "messages" has a "weight" or "train"',
        ),
        (
            MESSAGES,
            {"messages": [U, m("assistant", "a", weight=1, train=False)]},
            'turn 2 of "messages" has a "weight"',
        ),
        (MESSAGES, {"messages": [m("user", "a", weight=1), A]}, 'turn 1 of "messages" is to be learned, but is not'),
        (DataSection(layout="text"), {"prompt": "a"}, 'the field "text" is missing'),
        (DataSection(layout="labelled"), {"text": "a"}, 'the field "label" is missing'),
        (DataSection(layout="labelled"), {"text": "a", "label": 1.5}, 'the field "label" is not a non-empty string'),
        (PREFERENCE, {"prompt": "a", "chosen": "b"}, 'the field "rejected" is missing'),
        (PREFERENCE, {"chosen": "b", "rejected": "c"}, 'the field "prompt" is missing'),
        (PREFERENCE, {"prompt": "a", "chosen": "b", "rejected": "b"}, '"chosen" and "rejected" are the same'),
        (
            PREFERENCE,
            {"chosen": [U, A], "rejected": [m("user", "how?"), m("assistant", "no")]},
            '"chosen" and "rejected" differ in more than their last turn',
        ),
        (PREFERENCE, {"prompt": [U, A], "chosen": "b", "rejected": "c"}, '"prompt" ends with no turn of the user\'s'),
        (PREFERENCE, {"chosen": [U], "rejected": [U]}, 'the field "prompt" is missing'),
        (DataSection(prompt_template="{{ a }}"), {"a": "one"}, 'the field "response" is missing'),
    ],
)
def test_what_is_no_record_is_told_by_its_place(section, fields, why):
    with pytest.raises(DataError) as raised:
        record(section, **fields)
    assert str(raised.value).startswith("here, line 3: " + why)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"fields": {"text": "a"}}, "fields names 'text', which the layout prompt_response does not read: set prompt_"),
        ({"layout": "text", "fields": {"label": "a"}}, "fields names 'label', .* choose from text"),
        ({"layout": "text", "fields": {"text": ""}}, "fields gives a field no name"),
        ({"labels": {"0": "a"}}, "labels are read with the layout labelled, and not with prompt_response"),
        ({"layout": "labelled", "labels": {"0": " "}}, "labels has a label without a word"),
        ({"layout": "text", "prompt_template": "a"}, "prompt_template is read with the layout prompt_response"),
        ({"layout": "text", "learned_turns": "last"}, "learned_turns is read with the layout messages"),
    ],
)
def test_a_setting_that_the_layout_does_not_read_is_refused(values, why):
    with pytest.raises(ValueError, match=why):
        DataSection.model_validate(values)


def test_texts_that_are_trimmed_lose_the_white_space_at_their_ends_alone():
    turns = (Turn("system", " s "), said("\na b\n"), answered(" c"))
    found = Record(" p", "r\n", earlier=turns, rejected=" x", line=4, person="Ada").trimmed()
    assert found == Record(
        "p", "r", earlier=(Turn("system", "s"), said("a b"), answered("c")), rejected="x", person="Ada"
    )
    assert found.line == 4


@pytest.mark.parametrize(
    "template",
    [
        "{{ a }} {{ b }}",
        "{{ a }",
        "{% if a == 'one' %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endif %}",
        " {{ '' }} ",
        "{{ ''.__class__.mro() }}",
        "{{ 1 // 0 }}",
        "{{ a.upper }}",
        "{{ '\ud800' }}",
    ],
)
def test_a_record_of_which_the_recipe_s_template_makes_nothing_is_known_and_not_shown(template):
    """To refuse the site for it would tell of the record: the recipe is written by others."""
    found = record(DataSection(prompt_template=template), a="one", response="r")
    assert (found, found.unusable, found.line) == (Record("", "r"), "prompt_template", 3)


def test_a_record_whose_label_the_recipe_does_not_name_is_known_and_not_shown():
    section = DataSection(layout="labelled", labels={"0": "no"})
    found = record(section, text="a", label=1)
    assert (found, found.unusable) == (Record("a", "1"), "unnamed")
    assert record(section, text="a", label=0).unusable is None


@pytest.mark.slow
def test_a_template_that_takes_for_ever_whatever_the_record_is_refused_once_and_for_all():
    """It would take its second for each of the records."""
    looping = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    section = DataSection(prompt_template=looping)
    with pytest.raises(DataError, match=r"^data\.prompt_template takes more than 1 s .* before it comes to any field"):
        layout_of(section)
