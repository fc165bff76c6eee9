"""The releases of Sealora at both ends of a round: they must be the same, and who has another is told so by number.

A round's arithmetic and its messages may change with any release, so nothing of another one is guessed at. What is
looked at in a message that cannot be read is its release alone, so that the sentence is not about its first strange
field.
"""

from __future__ import annotations

import re

from sealora_common import __version__
from sealora_common.config import json_value
from sealora_common.errors import UnreadableError

_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!-]{0,63}")


def other_release(content: object, field: str) -> str | None:
    """The release that a message names, if it is another than this one; None if it is this one, or names none.

    Args:
        content: the message as it came, JSON.
        field: under which it names its release.
    """
    try:
        value = json_value(content) if isinstance(content, bytes) else None
    except UnreadableError:
        return None
    found = value.get(field) if isinstance(value, dict) else None
    if not isinstance(found, str) or not _RELEASE.fullmatch(found) or found == __version__:
        return None
    return found
