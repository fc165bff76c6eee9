from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from sealora_common.config import Bounds, adapted_from_json, from_json, json_value
from sealora_common.errors import UnreadableError

TIGHT = Bounds(longest=1000, depth=4, nodes=20, digits=10)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**99), 10**99)
    | FINITE
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text('abc"\\[{:,', max_size=5), inner, max_size=5),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([None, 2]), st.booleans())
def test_what_json_writes_is_read_as_it_was(value, indent, in_ascii):
    text = json.dumps(value, indent=indent, ensure_ascii=in_ascii)
    assert json_value(text) == json_value(text.encode()) == json.loads(text)


REFUSED = {
    "too long": ('"' + "a" * 1000 + '"', "larger than 1000 bytes"),
    "too deep": ("[[[[[]]]]]", "more than 4 deep"),
    "too deep in objects": ('{"a":' * 5 + "0" + "}" * 5, "more than 4 deep"),
    "too many values": (json.dumps([0] * 21), "more than 20 values"),
    "too many keys": (json.dumps({str(key): 0 for key in range(11)}), "more than 20 values"),
    "a long number": ("[" + "1" * 11 + "]", "a number of more than 10 digits"),
    "a long negative number": ("-" + "1" * 11, "a number of more than 10 digits"),
    "too large a number": ("1e999", "a number too large for a double"),
    "no number": ("[NaN]", "NaN, which JSON does not have"),
    "no end": ("-Infinity", "-Infinity, which JSON does not have"),
    "a key twice": ('{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' twice in one object"),
    "a key twice, once as an escape": ('{"a": 1, "\\u0061": 2}', "the key 'a' twice in one object"),
    "no JSON": ("{\n'a': 1}", "line 2: not JSON (Expecting property name enclosed in double quotes)"),
    "nothing": ("", "not JSON (Expecting value)"),
    "two values": ("{} {}", "not JSON (Extra data)"),
    "UTF-16": (json.dumps({"a": 1}).encode("utf-16"), "not UTF-8 text"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "not JSON"),
    "half a surrogate pair": ('"\ud800"', "not UTF-8 text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_taken_is_said(case):
    text, said = REFUSED[case]
    with pytest.raises(UnreadableError) as caught:
        json_value(text, TIGHT)
    assert said in str(caught.value)


def test_as_much_as_the_bounds_say_is_taken():
    assert json_value("[[[[]]]]", TIGHT) == [[[[]]]]
    assert json_value(json.dumps([0] * 19), TIGHT) == [0] * 19
    assert json_value("-" + "1" * 10, TIGHT) == -1111111111
    assert json_value('"' + "[{,:" * 200 + '"', TIGHT) == "[{,:" * 200
    assert json_value('"' + "1" * 50 + '"', TIGHT) == "1" * 50


BRACKETS = st.text('"\\[]{}:,a0', max_size=8)
NESTED = st.recursive(
    BRACKETS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(BRACKETS, inner, max_size=3),
    max_leaves=8,
)


@given(NESTED, st.sampled_from([None, 1]))
def test_brackets_and_separators_in_texts_count_for_nothing(value, indent):
    text = json.dumps(value, indent=indent)
    depth, nodes = depth_of(value), count_of(value)
    assert json_value(text, Bounds(longest=10_000, depth=depth, nodes=nodes)) == value
    if depth:
        with pytest.raises(UnreadableError, match="deep"):
            json_value(text, Bounds(longest=10_000, depth=depth - 1, nodes=nodes))
    if isinstance(value, list) and len(value) > 1 and not any(isinstance(item, dict | list) for item in value):
        with pytest.raises(UnreadableError, match=f"more than {len(value)} values"):
            json_value(text, Bounds(longest=10_000, depth=0, nodes=len(value)))


def depth_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def count_of(value: object) -> int:
    """Values and keys, the lists and objects counted as well; an empty one counts twice."""
    if isinstance(value, dict):
        return 1 + sum(1 + count_of(item) for item in value.values()) if value else 2
    if isinstance(value, list):
        return 1 + sum(map(count_of, value)) if value else 2
    return 1


class Point(BaseModel):
    x: int
    where: tuple[float, float] = (0.0, 0.0)


def test_a_model_is_read_as_pydantic_reads_json():
    assert from_json(Point, b'{"x": 1, "where": [1, 2]}') == Point(x=1, where=(1, 2))
    assert adapted_from_json(TypeAdapter(tuple[Point, ...]), '[{"x": 1}]') == (Point(x=1),)


def test_what_is_wrong_with_a_model_is_said_with_its_field():
    with pytest.raises(UnreadableError) as caught:
        from_json(Point, '{"x": 1, "where": [0, "far"]}')
    assert str(caught.value).startswith("where.1: Input should be a valid number")
    assert caught.value.field == "where.1"
    with pytest.raises(UnreadableError, match="the key 'x' twice"):
        from_json(Point, '{"x": 1, "x": 2}')


def test_a_nan_of_an_earlier_version_can_be_taken_for_null():
    assert json_value('{"loss": NaN, "norm": -Infinity}', nan_is_null=True) == {"loss": None, "norm": None}
