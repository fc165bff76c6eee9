"""What becomes of values that JSON has no form for, or several."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from enum import Enum

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from sealora_client.data.formats.arrow import Arrow
from sealora_client.data.formats.arrow_values import NoJsonError, as_json, fields_of

UTC = datetime.UTC


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (7.5, 7.5),
        (math.nan, None),
        (decimal.Decimal("7"), 7),
        (decimal.Decimal("7.0"), 7.0),
        (decimal.Decimal("7.25"), 7.25),
        (decimal.Decimal("NaN"), None),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (datetime.datetime(2024, 5, 1, 9, 30, tzinfo=UTC), "2024-05-01T09:30:00+00:00"),
        (datetime.time(9, 30), "09:30:00"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "red"),
        (({"a": decimal.Decimal(1)},), [{"a": 1}]),
    ],
)
def test_a_value_is_what_json_has(value, json):
    found = as_json(value)
    assert found == json
    assert type(found) is type(json)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (b"x", "bytes"),
        (memoryview(b"x"), "bytes"),
        (math.inf, "an infinite number"),
        (decimal.Decimal("-Infinity"), "an infinite number"),
        (datetime.timedelta(1), "a value of the type timedelta"),
        ([{"a": b"x"}], "bytes"),
        ({1: "x"}, "a mapping whose keys are no texts"),
    ],
)
def test_what_json_has_no_form_for_is_told_by_name_and_spoils_no_other_field(value, what):
    with pytest.raises(NoJsonError, match=what):
        as_json(value)
    assert fields_of([("a", value), ("b", 1)]) == ({"b": 1}, {"a": what})


def test_columns_of_arrow_s_types_are_read_as_documented(tmp_path):
    nanoseconds = np.array(["2024-05-01T09:30:00.123456789"], "datetime64[ns]")
    table = pa.table({
        "day": pa.array([datetime.date(2024, 5, 1)]),
        "moment": pa.array(nanoseconds),
        "zoned": pa.array(nanoseconds, pa.timestamp("ns", "UTC")),
        "amount": pa.array([decimal.Decimal("12")], pa.decimal128(9, 0)),
        "half": pa.array([np.float16(0.5)]),
        "gap": pa.array([float("nan")]),
        "none": pa.nulls(1),
        "large": pa.array(["text"], pa.large_string()),
        "took": pa.array([5], pa.duration("s")),
        "image": pa.array([b"\x89PNG"]),
    })  # fmt: skip
    path = tmp_path / "a.feather"
    feather.write_feather(table, path)
    (row,) = Arrow().rows(path)
    assert row.fields == {
        "day": "2024-05-01", "moment": "2024-05-01T09:30:00.123456", "zoned": "2024-05-01T09:30:00.123456+00:00",
        "amount": 12, "half": 0.5, "gap": None, "none": None, "large": "text",
    }  # fmt: skip
    assert row.unfit == {"took": "a value of the type timedelta", "image": "bytes"}
