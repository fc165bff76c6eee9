from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from sealora_common.config import Bounds, load_yaml, yaml_value
from sealora_common.errors import UnreadableError

TIGHT = Bounds(longest=1000, depth=4, nodes=20, digits=10)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
LOOKS_LIKE_ANOTHER = st.from_regex(
    r"[-+]?[0-9_.:eE+xob]{1,8}|yes|no|on|off|y|n|null|~|true|<<|=|[0-9-]{8,10}", fullmatch=True
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**90), 10**90) | FINITE | TEXT | LOOKS_LIKE_ANOTHER,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | LOOKS_LIKE_ANOTHER, inner, max_size=4),
    max_leaves=12,
)


def unshared(value: object) -> object:
    """The same value without a list in two places, which `safe_dump` would write as an alias."""
    return json.loads(json.dumps(value))


@given(VALUES, st.booleans())
def test_what_is_dumped_is_read_as_it_was(value, unicode):
    """So a recipe in a run's directory, and a submitted one, are the recipe that was meant."""
    assert yaml_value(yaml.safe_dump(unshared(value), allow_unicode=unicode, sort_keys=False)) == value


TYPES = {
    "": None,
    "~": None,
    "true": True,
    "False": False,
    "yes": "yes",
    "off": "off",
    "12": 12,
    "-3": -3,
    "0.5": 0.5,
    "1.": 1.0,
    "1e-5": "1e-5",  # as PyYAML has it; a field that is a number takes it for one
    "010": "010",
    "0x1f": "0x1f",
    "1_000": "1_000",
    "12:30:00": "12:30:00",
    "2026-01-31": "2026-01-31",
    "2026-99-99T25:00:00Z": "2026-99-99T25:00:00Z",
    "<<": "<<",
    "'12'": "12",
    "[1, {a: b}]": [1, {"a": "b"}],
    "no: 1": {"no": 1},
    "1: one": {"1": "one"},
    "null: 1": {"null": 1},
}


@pytest.mark.parametrize("text", TYPES)
def test_there_are_few_types_and_every_key_is_text(text):
    found = yaml_value(text)
    assert found == TYPES[text]
    assert type(found) is type(TYPES[text])


REFUSED = {
    "too long": ("a" * 1001, "larger than 1000 bytes"),
    "too deep": ("[[[[[]]]]]", "line 1: lists and mappings in each other more than 4 deep"),
    "too deep by dashes": ("- - - - - a", "more than 4 deep"),
    "too many values": ("[" + "a," * 21 + "]", "more than 20 values"),
    "a long number": ("a:\n  " + "1" * 11, "line 2: a number of more than 10 digits"),
    "an alias": ("a: &x [1]\nb: *x", "line 1: an anchor or alias"),
    "an alias before its anchor": ("b: *x", "an anchor or alias"),
    "a merge": ("a: {<<: *x}", "an anchor or alias"),
    "a tag": ("a: !!python/object/apply:os.system [x]", "line 1: a tag"),
    "a plain tag": ("a: ! 12", "a tag"),
    "a tag on a mapping": ("!!omap {a: 1}", "a tag"),
    "a key twice": ("a: 1\nb: 2\n'a': 3", "line 3: the key 'a' twice in one mapping"),
    "a key twice, as another type": ("1: a\n'1': b", "the key '1' twice in one mapping"),
    "a list for a key": ("? [a]\n: b", "a key that is no text"),
    "two documents": ("a\n---\nb", "a second document"),
    "a character that there is not": ('"\\UFFFFFFFF"', "a character or number that there is not"),
    "half a surrogate pair": ('"\\ud800"', "half of a surrogate pair"),
    "a control character": ("a: \x07", "special characters are not allowed"),
    "a long version": ("%YAML " + "1" * 900 + ".1\n---\na", ""),
    "bytes": (b"\xff\xfe", "not UTF-8 text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_taken_is_said(case):
    text, said = REFUSED[case]
    with pytest.raises(UnreadableError) as caught:
        yaml_value(text, TIGHT)
    assert said in str(caught.value)


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rate: float
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "rate: fast\n",
            "{}: rate: 'fast' will not do: input should be a valid number, unable to parse string as a number",
        ),
        ("names: [a]\n", "{}: rate: missing: add it"),
        ("rate: 1\nname: [a]\n", "{}: name: unknown key, did you mean 'names'?: correct or remove it"),
        ("- a\n", "{}: settings: Input should be a mapping"),
        (
            "rate: [\n",
            "{}: cannot be read (line 2: expected the node content, but found '<stream end>'): correct the file",
        ),
        ("rate: " + "\\" * 5000 + "\n", "will not do"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(UnreadableError) as caught:
        load_yaml(Settings, path, "settings")
    assert said.format(path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_number_in_e_notation_is_one_where_a_number_is_meant(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfrate: 1e-5\n")
    assert load_yaml(Settings, tmp_path / "a.yaml", "settings").rate == 1e-5
