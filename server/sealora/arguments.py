"""Arguments of the wrong type, refused in one sentence, before anything is read or written."""

from __future__ import annotations

import operator
from os import PathLike
from pathlib import Path

from sealora_common.errors import SealoraError

PathText = str | PathLike[str]
"""A path, as text or as an object."""


def flag(name: str, value: object) -> bool:
    """The value of an argument that is True or False.

    Raises:
        SealoraError: it is neither.
    """
    if isinstance(value, bool):
        return value
    raise SealoraError(f"{name} is {value!r}: give True or False")


def path(name: str, value: object) -> Path:
    """The value of an argument that is a path, with `~` as this account's home.

    Raises:
        SealoraError: it is none.
    """
    text = value.__fspath__() if isinstance(value, PathLike) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise SealoraError(f"{name} is {value!r}: give a path, as text or pathlib.Path")
    return Path(text).expanduser()


def optional_path(name: str, value: object) -> Path | None:
    """The same of an argument that may be None.

    Raises:
        SealoraError: it is neither a path nor None.
    """
    return None if value is None else path(name, value)


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """The value of an argument that is a whole number, NumPy's too.

    Raises:
        SealoraError: it is none, or out of its range.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        raise SealoraError(f"{name} is {value!r}: give a whole number from {least} to {most:,}")
    return number


def number(name: str, value: object, least: float, most: float) -> float:
    """The value of an argument that is a number.

    Raises:
        SealoraError: it is none, or out of its range.
    """
    try:
        found = None if isinstance(value, bool | str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None or not least <= found <= most:
        raise SealoraError(f"{name} is {value!r}: give a number from {least:g} to {most:g}")
    return found
