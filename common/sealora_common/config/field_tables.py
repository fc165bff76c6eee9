"""What a model takes, field by field, as tables in Markdown: made from the schema, so that they say what is checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel

from sealora_common.config.json_text import JsonValue

_KINDS: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "array": "list",
    "object": "mapping",
    "null": "`null`",
}
_BOUNDS: Final = (
    ("minimum", "from {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "to {}"),
    ("exclusiveMaximum", "below {}"),
)

Schema = Mapping[str, JsonValue]


def field_tables(model: type[BaseModel], *, level: int = 2) -> Iterator[str]:
    """The lines of the tables of a model's fields, in Markdown: its own first, then those of each section in it.

    Args:
        model: what a person writes.
        level: of the sections' headings.
    """
    whole: Schema = model.model_json_schema()
    return _section("", whole, whole, "#" * level)


def _section(path: str, section: Schema, whole: Schema, heading: str) -> Iterator[str]:
    if path:
        yield f"{heading} `{path}`\n"
        yield f"{_one_line(section.get('description'))}\n"
    yield "| field | takes | default | meaning |"
    yield "|---|---|---|---|"
    required = section.get("required")
    inner: list[tuple[str, Schema]] = []
    for name, field in _mapping(section.get("properties")).items():
        schema = _mapping(field)
        below = _resolved(schema, whole)
        choices = below.get("anyOf")
        whether = [_resolved(_mapping(choice), whole) for choice in choices] if isinstance(choices, list) else [below]
        sections = [choice for choice in whether if _mapping(choice.get("properties"))]
        inner += [(f"{path}.{name}" if path else name, choice) for choice in sections]
        if sections == whether:
            continue
        default = "required" if isinstance(required, list) and name in required else _default(schema)
        meaning = _one_line(schema.get("description"))
        yield f"| `{name}` | {_takes(schema, whole)} | {default} | {meaning} |"
    yield ""
    for below_path, below in inner:
        yield from _section(below_path, below, whole, heading)


def _default(schema: Schema) -> str:
    if "default" in schema:
        return _value(schema["default"])
    return "`{}`" if schema.get("type") == "object" else "`[]`"  # made anew for each of them


def _takes(schema: Schema, whole: Schema) -> str:
    """In words, which values a field takes."""
    schema = _resolved(schema, whole)
    choices = schema.get("anyOf")
    if isinstance(choices, list):
        return " or ".join(dict.fromkeys(_takes(_mapping(choice), whole) for choice in choices))
    words = schema.get("enum")
    if isinstance(words, list):
        return ", ".join(f"`{word}`" for word in words)
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = "date" if schema.get("format") == "date" else _KINDS[str(schema.get("type", "object"))]
    if schema.get("type") == "array" and "items" in schema:
        kind = f"list of {_takes(_mapping(schema['items']), whole)}"
    bounds = [words.format(_value(schema[name])) for name, words in _BOUNDS if name in schema]
    return " ".join([kind, *bounds])


def _resolved(schema: Schema, whole: Schema) -> Schema:
    """What a reference within the schema stands for."""
    place = schema.get("$ref")
    if not isinstance(place, str):
        return schema
    return _mapping(_mapping(whole["$defs"])[place.rpartition("/")[2]])


def _mapping(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _value(value: JsonValue) -> str:
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _one_line(text: JsonValue) -> str:
    return " ".join(str(text or "").split()).replace("|", "\\|")
