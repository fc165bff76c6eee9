"""Values of Arrow's types, and of a database's, as JSON has them. Decided here once, for Parquet, Arrow and SQL alike.

Numbers, truth values, texts, lists and objects stay what they are. A date or time is its text in ISO 8601, a decimal
without places behind the point a whole number, any other the nearest floating-point number, an identifier (UUID) its
text. What is missing (null, NaN) is null. A category is its text. Bytes, durations and infinities have no form in JSON:
a field with one is told by name to whoever wants it, and to nobody else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from enum import Enum
from uuid import UUID


class NoJsonError(Exception):
    """A value has no form in JSON; says what it is."""


def fields_of(values: Iterable[tuple[str, object]]) -> tuple[dict[str, object], dict[str, str]]:
    """A row's fields as JSON has them, and what those are that have no form there, both by name."""
    fields: dict[str, object] = {}
    unfit: dict[str, str] = {}
    for name, value in values:
        try:
            fields[name] = as_json(value)
        except NoJsonError as error:
            unfit[name] = str(error)
    return fields, unfit


def as_json(value: object) -> object:
    """The value as JSON has it.

    Raises:
        NoJsonError: it, or something in it, has no form there.
    """
    match value:
        case Enum():
            return as_json(value.value)
        case Mapping():
            return {_key(key): as_json(own) for key, own in value.items()}
        case list() | tuple():
            return [as_json(own) for own in value]
        case _:
            return _single(value)


def _single(value: object) -> str | int | float | None:
    match value:
        case None | bool() | int() | str():
            return value
        case float() | Decimal():
            return _number(value)
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            is_bytes = isinstance(value, bytes | bytearray | memoryview)
            raise NoJsonError("bytes" if is_bytes else f"a value of the type {type(value).__name__}")


def _number(value: float | Decimal) -> int | float | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise NoJsonError("an infinite number")
    is_whole = isinstance(value, Decimal) and value.as_tuple().exponent == 0
    return int(value) if is_whole else float(value)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise NoJsonError("a mapping whose keys are no texts")
    return key
