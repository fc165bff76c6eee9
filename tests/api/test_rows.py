"""Records in memory: turned into JSON exactly, or refused by site, row and column."""

from __future__ import annotations

import datetime
import decimal
import enum
import json

import datasets
import numpy as np
import pandas as pd
import pytest

from sealora.json_values import NoJsonValueError, json_of
from sealora.rows import rows_of
from sealora_common.errors import DataError


class Part(enum.StrEnum):
    TRAIN = "train"


class Grade(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Müller 🫀", "Müller 🫀"),
        (np.str_("a"), "a"),
        (Part.TRAIN, "train"),
        (Grade.HIGH, 3),
        (True, True),
        (np.True_, True),
        (np.int8(-7), -7),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.1), float(np.float32(0.1))),
        (0.1, 0.1),
        (None, None),
        (pd.NA, None),
        (pd.NaT, None),
        (np.datetime64("NaT"), None),
        (pd.Timestamp("2026-01-31 12:00:00.000000001", tz="UTC"), "2026-01-31T12:00:00.000000001+00:00"),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        (np.datetime64("2026-01-31T12:00"), "2026-01-31T12:00"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(5), 5),
        (({"role": "user", "content": "a"},), [{"role": "user", "content": "a"}]),
    ],
)
def test_what_json_has_an_equal_of_is_turned_into_it(value, expected):
    found = json_of(value)
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == expected
    assert type(found) is type(expected)


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "is nan"),
        (np.float16("inf"), "is inf"),
        (b"bytes", "is a bytes"),
        (decimal.Decimal("0.1"), "is a Decimal"),
        (datetime.timedelta(1), "is a timedelta"),
        ({1, 2}, "is a set"),
        (1j, "is a complex"),
        (np.longdouble(1) / 3, "a double has fewer digits"),
        ("\ud800", "lone surrogate"),
        ({7: "a"}, "the key 7"),
        (10**200, "more than 100 digits"),
        ([float("nan")], "is nan"),
        (CIRCLE, "in each other"),
        (np.array([object()], dtype=object), "is a object"),
    ],
)
def test_what_json_has_none_of_is_refused(value, why):
    with pytest.raises(NoJsonValueError, match=why):
        json_of(value)


def test_a_frame_keeps_each_column_s_type_and_loses_its_index():
    frame = pd.DataFrame(
        {
            "prompt": ["a", "b"],
            "n": [1, 2],
            "x": [0.5, 1.0],
            "part": pd.Categorical(["train", None]),
            "day": pd.to_datetime(["2026-01-31", None]),
            "maybe": pd.array([1, None], dtype="Int64"),
            "mixed": [7, "seven"],
        },
        index=[5, 5],
    )
    assert list(rows_of("north", frame)) == [
        {"prompt": "a", "n": 1, "x": 0.5, "part": "train", "day": "2026-01-31T00:00:00", "maybe": 1, "mixed": 7},
        {"prompt": "b", "n": 2, "x": 1.0, "part": None, "day": None, "maybe": None, "mixed": "seven"},
    ]


@pytest.mark.parametrize("kind", ["str", "object", "string"])
def test_a_missing_text_of_a_frame_is_null(kind):
    frame = pd.DataFrame({"text": pd.Series(["a", None], dtype=kind)})
    assert list(rows_of("north", frame)) == [{"text": "a"}, {"text": None}]


def test_a_data_set_of_datasets_is_read_without_its_format():
    data = datasets.Dataset.from_dict({"prompt": ["a"], "n": [1]})
    assert list(rows_of("north", data.with_format("numpy"))) == [{"prompt": "a", "n": 1}]


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (pd.DataFrame({"x": [0.5, np.nan]}), "records of site north, row 2, column 'x': is nan"),
        (pd.DataFrame([["a", "b"]], columns=["p", "p"]), "two columns are called 'p'"),
        (pd.DataFrame([["a", "b"]]), "a column is called 0"),
        (pd.DataFrame([["a"]], columns=pd.MultiIndex.from_tuples([("a", "b")])), r"a column is called \('a', 'b'\)"),
        (pd.DataFrame({"p": []}), "there are none"),
        ([], "there are none"),
        ([{"p": "a"}, "b"], "row 2: is a str"),
        ([{"p": b"a"}], "row 1, column 'p': is a bytes"),
        ([{1: "a"}], "its name is no text"),
        ([{"\ud800": "a"}], "lone surrogate"),
        (pd.Series(["a"]), "a Series is not read"),
        ({"p": ["a"]}, "a dict is not read"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_dict({"p": ["a"]})}), "give one, as in data"),
        (iter([{"p": "a"}]), "is not read: give a list of dicts"),
        (7, "a int is not read"),
    ],
)
def test_untidy_records_are_refused_in_a_sentence(records, why):
    with pytest.raises(DataError, match=why):
        list(rows_of("north", records))
