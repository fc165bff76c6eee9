"""A YAML text with one value replaced or added, and every other character, comments too, as it was."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from sealora_common.config.yaml_text import YamlValue
from sealora_common.errors import UnreadableError

_INDENT = 2
_WIDEST = 2**20


def with_value(text: str, path: Sequence[str], value: YamlValue) -> str:
    """The text with `value` at a path of keys.

    A value that is there is replaced where it stands. One that is not is added: before the first key of its section, or
    at the end of the text, with its section if there is none.

    Args:
        text: a mapping in YAML that `yaml_value` has taken.
        path: one key or more.
        value: what stands there afterwards.

    Raises:
        UnreadableError: it is no mapping in YAML, or another value stands there over several lines.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UnreadableError(" ".join(str(error).split())) from None
    if not isinstance(node, yaml.MappingNode):
        raise UnreadableError("no mapping")
    for depth, key in enumerate(path):
        inner = _value_of(node, key)
        last = depth == len(path) - 1
        if inner is None:
            return _added(text, node, depth == 0, key, _nested(path[depth + 1 :], value))
        if last or not isinstance(inner, yaml.MappingNode):
            return _replaced(text, inner, _nested(path[depth + 1 :], value), key)
        node = inner
    return text


def _value_of(section: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in section.value if name.value == key), None)


def _nested(path: Sequence[str], value: YamlValue) -> YamlValue:
    for key in reversed(path):
        value = {key: value}
    return value


def _replaced(text: str, node: yaml.Node, value: YamlValue, key: str) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    old = text[start:end]
    if "\n" in old.rstrip():
        raise UnreadableError(f"{key} stands over several lines, and is left to a person")
    gap = " " if text[start - 1 : start] == ":" else ""
    return f"{text[:start]}{gap}{_on_one_line(value)}{old[len(old.rstrip()) :]}{text[end:]}"


def _added(text: str, section: yaml.MappingNode, is_whole: bool, key: str, value: YamlValue) -> str:
    line_end = "\r\n" if "\r\n" in text else "\n"
    if is_whole and not section.flow_style:
        closed = text if text.endswith("\n") else text + line_end
        return closed + _lines(key, value, line_end)
    entry = f"{key}: {_on_one_line(value)}"
    if not section.value:  # {}
        place = section.start_mark.index + 1
        return f"{text[:place]}{entry}{text[place:]}"
    first = section.value[0][0].start_mark
    more = ", " if section.flow_style else line_end + " " * first.column
    return f"{text[: first.index]}{entry}{more}{text[first.index :]}"


def _lines(key: str, value: YamlValue, line_end: str) -> str:
    """A key with its value, a section's fields on lines of their own."""
    if not isinstance(value, dict):
        return f"{key}: {_on_one_line(value)}{line_end}"
    fields = (f"{' ' * _INDENT}{name}: {_on_one_line(inner)}{line_end}" for name, inner in value.items())
    return f"{key}:{line_end}{''.join(fields)}"


def _on_one_line(value: YamlValue) -> str:
    dumped = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=_WIDEST, sort_keys=False)
    return dumped.removesuffix("\n").removesuffix("\n...")
