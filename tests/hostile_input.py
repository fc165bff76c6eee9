"""Valid files and messages spoilt in every way that has once broken a reader, and in many that nobody listed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import yaml

NASTY_TEXT = (
    "&a [*a, *a]",
    "*a",
    "<<: *a",
    "<<: {a: 1}",
    "!!python/object/apply:os.system ['true']",
    "!!binary aGk=",
    "!!timestamp 2001-99-99",
    "2001-99-99",
    "2001-02-30T25:61:61Z",
    "190:20:30.15",
    "0o17",
    "0x" + "f" * 5000,
    "9" * 5000,
    "-" + "9" * 5000,
    "1." + "0" * 5000,
    "1e999",
    "1.0e+999",
    ".nan",
    "-.inf",
    "NaN",
    "-Infinity",
    '"\\UFFFFFFFF"',
    '"\\ud800"',
    '"\\x1b[2J"',
    "\x1b]0;title\x07",
    "\u202e\u200b\ufeff",
    "\x00",
    "\x85\u2028",
    "[" * 2000,
    "{" * 2000,
    '{"a":' * 2000,
    "- " * 2000,
    "? " * 2000,
    "%YAML " + "1" * 5000 + ".1\n---\n",
    "---\n...\n---\n",
    '{"a": 1, "a": 2}',
    "a: 1\na: 2\n",
    "\t",
    "'",
    '"',
    "|\n",
    ">9\n",
    ": : :",
    "\\",
    "no",
    "null",
    "10" * 40,
)
NASTY_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**64,
    10**99,
    10**300,
    -(10**99),
    0.1,
    -0.0,
    1e308,
    "",
    " ",
    "\x1b[31mred\x1b[0m",
    "one\nline 2\r\n[ERROR] forged",
    "\u202etxt.exe",
    "a" * 5000,
    "../../etc/passwd",
    "/dev/zero",
    "9999-99-99",
    [],
    {},
    [[[[[[]]]]]],
    {"": {"": {"": {}}}},
    ["a"] * 300,
    {str(number): number for number in range(300)},
)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """`content` with one to four changes: to its bytes, its lines, or one of its values."""
    for _ in range(chance.randint(1, 4)):
        content = chance.choice(_CHANGES)(content, chance)
    return content


def _flip(content: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(content or b" ")
    spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def _cut(content: bytes, chance: random.Random) -> bytes:
    first, last = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:first] if chance.random() < 0.3 else content[:first] + content[last:]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    first, last = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return (
        content[:last] + content[first:last] * chance.randint(1, 3) + content[last:] if len(content) < 50_000 else b""
    )


def _insert(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.choice(NASTY_TEXT).encode("utf-8", "surrogatepass") + content[at:]


def _noise(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.randbytes(chance.randint(1, 8)) + content[at:]


def _text_of_value(content: bytes, chance: random.Random) -> bytes:
    """A nasty text in place of what follows a colon."""
    colons = [at for at, byte in enumerate(content) if byte == ord(":")]
    if not colons:
        return content
    at = chance.choice(colons) + 1
    ends = [end for end in (content.find(mark, at) for mark in (b",", b"\n", b"}")) if end >= 0]
    return (
        content[:at] + b" " + chance.choice(NASTY_TEXT).encode("utf-8", "surrogatepass") + content[min(ends or [at]) :]
    )


def _value(content: bytes, chance: random.Random) -> bytes:
    """The same file, well-formed, with a nasty value in place of one of its own."""
    lines = content.split(b"\n")
    is_json = content.lstrip()[:1] == b"{"
    try:
        if is_json and len(lines) > 2 and lines[0].endswith(b"}"):
            at = chance.randrange(len(lines) - 1)
            return b"\n".join(
                [*lines[:at], json.dumps(_replaced(json.loads(lines[at]), chance)).encode(), *lines[at + 1 :]]
            )
        if is_json:
            return json.dumps(_replaced(json.loads(content), chance)).encode()
        return yaml.safe_dump(_replaced(yaml.safe_load(content), chance), allow_unicode=True).encode()
    except (ValueError, RecursionError, yaml.YAMLError, AttributeError, OverflowError, TypeError):
        return content


def _replaced(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        how = chance.random()
        if how < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if how < 0.2:
            return {**value, chance.choice(("x", "", "\x1b", "a.b", key)): chance.choice(NASTY_VALUES)}
        return {**value, key: _replaced(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], _replaced(value[at], chance), *value[at + 1 :]]
    return chance.choice(NASTY_VALUES)


_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _cut,
    _repeat,
    _insert,
    _noise,
    _text_of_value,
    _value,
    _value,
    _value,
)
