"""YAML within bounds, and of its types those that a configuration needs: mappings with text for keys, lists, text,
whole numbers, floats, true, false and null.

Dates, numbers in base 8 and 60, `yes` and `no` are text here; a field that wants another type says so. Aliases, anchors
and tags are refused: none is needed, and through them a short text builds a large or a strange value. PyYAML's parser
gives one event after another, so what is beyond the bounds is refused before the rest is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel

from sealora_common.config.bounds import CONFIGURATION, Bounds
from sealora_common.config.checked import checked
from sealora_common.config.file import read_file, why_not
from sealora_common.errors import UnreadableError

YamlValue = dict[str, "YamlValue"] | list["YamlValue"] | str | int | float | bool | None
Model = TypeVar("Model", bound=BaseModel)

# Each is a part of what PyYAML's `safe_dump` quotes when it is meant as text, so that what is dumped is read as it was.
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|\.[0-9]+(?:[eE][-+][0-9]+)?)", re.ASCII)
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def yaml_value(content: bytes | str, bounds: Bounds = CONFIGURATION) -> YamlValue:
    """The value of the one document in a YAML text; None if it is empty.

    Raises:
        UnreadableError: it is no YAML, has what is not taken, or is beyond the bounds; names the line, and no file.
    """
    if len(content) > bounds.longest:
        raise UnreadableError(f"larger than {bounds.longest} bytes, the most that is read")
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        text.encode()
    except UnicodeError:
        raise UnreadableError("not UTF-8 text") from None
    try:
        return _built(yaml.parse(text, Loader=yaml.SafeLoader), bounds)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        raise UnreadableError(error.problem or "not YAML", line=line) from None
    except yaml.YAMLError as error:
        raise UnreadableError(" ".join(str(error).split())) from None
    except (ValueError, OverflowError):  # PyYAML does not look whether an escape or a directive's number is one
        raise UnreadableError("a character or number that there is not") from None


def load_yaml(kind: type[Model], path: Path, whole: str, bounds: Bounds = CONFIGURATION) -> Model:
    """A model from a file of YAML.

    Args:
        kind: the model.
        path: the file.
        whole: what to call the file's whole, where no field of it is wrong.
        bounds: the most that is read.

    Raises:
        FileNotFoundError: there is none.
        UnreadableError: it cannot be read, or is none; one sentence with the file and what to do.
    """
    try:
        value = yaml_value(read_file(path, bounds.longest), bounds)
    except FileNotFoundError:
        raise
    except (OSError, UnreadableError) as error:
        raise UnreadableError(f"{path}: cannot be read ({why_not(error)}): correct the file") from None
    return checked(kind, value, before=f"{path}: ", whole=whole)


class _Building:
    """A list or mapping whose end is still to come."""

    def __init__(self, value: dict[str, YamlValue] | list[YamlValue]) -> None:
        self.value = value
        self.key: str | None = None

    def takes_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None

    def take(self, value: YamlValue) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.key = None


def _built(events: Iterator[yaml.Event], bounds: Bounds) -> YamlValue:
    document, documents, nodes = _Building([]), 0, 0
    around = [document]
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark is not None else None
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise UnreadableError("a second document, of which there may be one", line=line)
        if isinstance(event, yaml.CollectionEndEvent):
            done = around.pop()
            around[-1].take(done.value)
        if not isinstance(event, yaml.NodeEvent):
            continue
        nodes += 1
        if nodes > bounds.nodes:
            raise UnreadableError(f"more than {bounds.nodes} values", line=line)
        if event.anchor is not None:
            raise UnreadableError("an anchor or alias (& or *), which are not taken: write the value out", line=line)
        if getattr(event, "tag", None) is not None:
            raise UnreadableError("a tag (!), which is not taken: leave it out", line=line)
        if isinstance(event, yaml.ScalarEvent):
            _take_scalar(around[-1], event, bounds, line)
            continue
        if around[-1].takes_key():
            raise UnreadableError("a key that is no text", line=line)
        if len(around) > bounds.depth:
            raise UnreadableError(f"lists and mappings in each other more than {bounds.depth} deep", line=line)
        around.append(_Building({} if isinstance(event, yaml.MappingStartEvent) else []))
    assert isinstance(document.value, list)  # noqa: S101 (it was made one above)
    return document.value[0] if document.value else None


def _take_scalar(into: _Building, event: yaml.ScalarEvent, bounds: Bounds, line: int | None) -> None:
    text = event.value
    if any("\ud800" <= mark <= "\udfff" for mark in text):
        raise UnreadableError("half of a surrogate pair, which is no text: write the whole character", line=line)
    if not into.takes_key():
        into.take(_scalar(text, bounds, line) if event.implicit[0] else text)
        return
    assert isinstance(into.value, dict)  # noqa: S101 (nothing else takes keys)
    if text in into.value:
        raise UnreadableError(f"the key {text[:80]!r} twice in one mapping", line=line)
    into.key = text


def _scalar(text: str, bounds: Bounds, line: int | None) -> YamlValue:
    if _NULL.fullmatch(text):
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > bounds.digits:
            raise UnreadableError(f"a number of more than {bounds.digits} digits", line=line)
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _SPECIAL.fullmatch(text) else text
