"""The page of all fields of a recipe, made from the schema: `python -m sealora_common.recipe.reference`.

`docs/recipe.md` is what this prints, and a test holds it to that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from sealora_common.config import JsonValue
from sealora_common.recipe.schema import Recipe
from sealora_common.show.say import say

_HEAD: Final = """# The recipe, field by field

Made from the schema by `make reference`; what is written here is what is checked. A recipe is a YAML file, and
`sealora simulate RECIPE key.path=value` overrides a field of it from the command line. All parties of a federation run
the same recipe: they know it by a hash over all that is below, but for what says that it is not part of it.

A field that is left out has its default. An unknown field is refused, with its name.
"""
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


def reference() -> str:
    """The page, as Markdown."""
    whole: Schema = Recipe.model_json_schema()
    return "\n".join([_HEAD, *_section("", whole, whole)])


def _section(path: str, section: Schema, whole: Schema) -> Iterator[str]:
    """Tables of a section and of those within it; the fields of the recipe itself come first."""
    if path:
        yield f"## `{path}`\n"
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
        yield from _section(below_path, below, whole)


def _default(schema: Schema) -> str:
    if "default" in schema:
        return _value(schema["default"])
    return "`{}`" if schema.get("type") == "object" else "`[]`"  # made anew for each recipe


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


if __name__ == "__main__":
    say(reference().rstrip(), lines=True)
