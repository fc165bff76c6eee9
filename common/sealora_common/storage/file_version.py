"""Files that carry their version: one of another version is refused by that, not by its first strange field."""

from __future__ import annotations

from pathlib import Path

from sealora_common.config import json_value
from sealora_common.errors import PolicyError, UnreadableError


def require_version(path: Path, content: bytes, version: int, what: str, remedy: str) -> None:
    """Refuses a JSON object that says it is of another version than `version`, or, before there were any, says none.

    Content that is no JSON object passes: whoever reads it says what is wrong with it.

    Args:
        path: of the file, for the sentence.
        content: the file's.
        version: the one that is read here.
        what: the kind of file, like "a roster".
        remedy: what to do about one of an earlier version.

    Raises:
        PolicyError: it is of another version.
    """
    try:
        value = json_value(content)
    except UnreadableError:
        return
    if not isinstance(value, dict):
        return
    found = value.get("version", 1)
    if type(found) is not int or found == version:
        return
    if found < version:
        raise PolicyError(f"{path}: {what} of version {found}, from an earlier Sealora than this: {remedy}")
    raise PolicyError(f"{path}: {what} of version {found}, from a later Sealora than this: install that one here")
