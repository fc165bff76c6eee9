"""JSON (RFC 8259) within bounds: UTF-8, each key once, no NaN or infinity.

Size, depth and number of values are looked at in the text, before anything is built from it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from sealora_common.config.bounds import LINE, Bounds
from sealora_common.config.problem import first_reason
from sealora_common.errors import UnreadableError

JsonValue = dict[str, "JsonValue"] | list["JsonValue"] | str | int | float | bool | None
Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")

# Possessive, so that neither a long text nor one without an end is looked at twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = frozenset(b"[{")


def json_value(content: bytes | str, bounds: Bounds = LINE, *, nan_is_null: bool = False) -> JsonValue:
    """The value of a JSON text.

    Args:
        content: UTF-8.
        bounds: the most that is taken.
        nan_is_null: whether a NaN or infinity, which earlier versions wrote into histories, is taken for null.

    Raises:
        UnreadableError: it is no JSON, or beyond the bounds; the sentence names no file.
    """
    text = _text(content, bounds)
    _check_shape(text.encode(), bounds)
    long_digits = re.search(rf"\d{{{bounds.digits + 1}}}", text, re.ASCII)

    def whole(digits: str) -> int:
        if len(digits.lstrip("-")) > bounds.digits:
            raise UnreadableError(f"a number of more than {bounds.digits} digits")
        return int(digits)

    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=whole if long_digits else None,
            parse_float=_finite,
            parse_constant=(lambda name: None) if nan_is_null else _no_number,
        )
    except json.JSONDecodeError as error:
        raise UnreadableError(f"not JSON ({error.msg})", line=error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not JSON ({error})") from None
    return value


def from_json(kind: type[Model], content: bytes | str, bounds: Bounds = LINE, *, nan_is_null: bool = False) -> Model:
    """A model from JSON, as its `model_validate_json` reads it; `nan_is_null` lets a NaN reach the model.

    Raises:
        UnreadableError: it is no JSON, beyond the bounds, or no such model; names the field.
    """
    json_value(content, bounds, nan_is_null=nan_is_null)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise first_reason(error) from None


def adapted_from_json(
    kind: TypeAdapter[Value], content: bytes | str, bounds: Bounds = LINE, *, nan_is_null: bool = False
) -> Value:
    """As `from_json`, for what is no model."""
    json_value(content, bounds, nan_is_null=nan_is_null)
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        raise first_reason(error) from None


def _text(content: bytes | str, bounds: Bounds) -> str:
    if len(content) > bounds.longest:
        raise UnreadableError(f"larger than {bounds.longest} bytes, the most that is read")
    try:
        text = content.decode() if isinstance(content, bytes) else content
        text.encode()
    except UnicodeError:
        raise UnreadableError("not UTF-8 text") from None
    return text


def _check_shape(content: bytes, bounds: Bounds) -> None:
    """Counts, of what is outside of strings, brackets and separators: each value but the first follows one."""
    if _most_nodes(content) <= min(bounds.depth, bounds.nodes):
        return
    bare = _STRING.sub(b'""', content)
    if _most_nodes(bare) > bounds.nodes:
        raise UnreadableError(f"more than {bounds.nodes} values")
    depth = 0
    for bracket in bare.translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in _OPENING else -1
        if depth > bounds.depth:
            raise UnreadableError(f"lists and objects in each other more than {bounds.depth} deep")


def _most_nodes(content: bytes) -> int:
    return 1 + sum(map(content.count, (b",", b":", b"[", b"{")))


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UnreadableError(f"the key {twice[:80]!r} twice in one object")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise UnreadableError("a number too large for a double")
    return number


def _no_number(name: str) -> NoReturn:
    raise UnreadableError(f"{name}, which JSON does not have")
