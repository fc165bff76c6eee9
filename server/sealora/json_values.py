"""A record's values as JSON has them: turned exactly, or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Final

import numpy as np

from sealora_common.config import LINE, JsonValue

_MISSING: Final = ("NAType", "NaTType")
"""Types of pandas' marks of a missing value, which is not imported for them."""
_DEEPEST: Final = LINE.depth - 2
"""Lists and mappings in each other; what reads the file takes no more."""


class NoJsonValueError(ValueError):
    """A value that JSON cannot hold as it is; says what is wrong with it and what to do."""


def json_of(value: object, *, nan_is_missing: bool = False, depth: int = 0) -> JsonValue:
    """The value as JSON has it: equal, whatever library it is of.

    Args:
        value: of a record: text, numbers, dates, lists, mappings, None; NumPy's and pandas' too. Dates and times become
            text in ISO 8601, marks of a missing value null.
        nan_is_missing: whether NaN is such a mark too.
        depth: lists and mappings that it is in.

    Raises:
        NoJsonValueError: JSON has no equal of it.
    """
    found: JsonValue
    match value:
        case str():
            found = text_of(value)
        case bool() | np.bool_():
            found = bool(value)
        case int() | np.integer():
            found = _whole_number(int(value))
        case float() | np.floating():
            found = None if nan_is_missing and math.isnan(value) else _number(value)
        case _ if value is None or type(value).__name__ in _MISSING:
            found = None
        case date():  # and times, which are dates
            found = value.isoformat()
        case np.datetime64():
            found = None if np.isnat(value) else str(value)
        case _:
            found = _of_several(value, depth)
    return found


def _of_several(value: object, depth: int) -> JsonValue:
    if depth > _DEEPEST:
        raise NoJsonValueError(f"has more than {_DEEPEST} lists and dicts in each other: flatten it")
    if isinstance(value, np.ndarray):
        return [json_of(each, depth=depth + 1) for each in value] if value.ndim else json_of(value[()], depth=depth)
    if isinstance(value, list | tuple):
        return [json_of(each, depth=depth + 1) for each in value]
    if isinstance(value, Mapping):
        return {_key(name): json_of(each, depth=depth + 1) for name, each in value.items()}
    raise NoJsonValueError(f"is a {type(value).__name__}, of which JSON has none: make it text or a number")


def text_of(value: str) -> str:
    """The text itself, of an enumeration's member or NumPy's too.

    Raises:
        NoJsonValueError: it is none that can be written.
    """
    plain = str.__str__(value)  # not an enumeration's own idea of it
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise NoJsonValueError("holds half of a character (a lone surrogate): decode its source as UTF-8") from None
    return plain


def _key(name: object) -> str:
    if not isinstance(name, str):
        raise NoJsonValueError(f"has the key {name!r}, and JSON's are text: write it as text")
    return text_of(name)


def _whole_number(value: int) -> int:
    if abs(value) >= 10**LINE.digits:
        raise NoJsonValueError(f"is a whole number of more than {LINE.digits} digits: make it text")
    return value


def _number(value: float | np.floating) -> float:
    if not math.isfinite(value):
        raise NoJsonValueError(f"is {float(value)}, which is no number: fill it, or leave the row out")
    if float(value) != value:
        raise NoJsonValueError(f"is a {type(value).__name__}, of which a double has fewer digits: make it a float")
    return float(value)
