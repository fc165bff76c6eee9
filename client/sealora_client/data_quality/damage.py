"""Texts that look as if something went wrong on their way: a wrong decoding, lost characters, leftovers of machines."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal, get_args

from sealora_client.data_quality.missing import needing

Damage = Literal["mojibake", "replacement characters", "control characters", "invisible characters", "not in NFC"]
DAMAGES: Final[tuple[Damage, ...]] = get_args(Damage)

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Not the joiners U+200C and U+200D, which Persian, Hindi and emoji are written with, nor marks of direction.
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff\ue000-\uf8ff\ufff9-\ufffb]")


def damages(text: str) -> set[Damage]:
    """What can be told without a library: everything but `mojibake`."""
    found: set[Damage] = set()
    if "\ufffd" in text:
        found.add("replacement characters")
    if _CONTROL.search(text):
        found.add("control characters")
    if _INVISIBLE.search(text):
        found.add("invisible characters")
    if not unicodedata.is_normalized("NFC", text):
        found.add("not in NFC")
    return found


def is_mojibake(text: str) -> bool:
    """Whether UTF-8 was read as some other encoding, or the other way round, by ftfy's measure of odd neighbours.

    Raises:
        MissingLibraryError: `ftfy` is not installed.
    """
    with needing("ftfy", "telling mojibake"):
        from ftfy import fix_encoding
        from ftfy.badness import is_bad
    return is_bad(text) and fix_encoding(text) != text


def without_mojibake(text: str) -> str:
    """`text` as it was before it was decoded wrongly, as far as ftfy is sure of that; otherwise as it is.

    Raises:
        MissingLibraryError: `ftfy` is not installed.
    """
    with needing("ftfy", "mending mojibake"):
        from ftfy import fix_encoding
    return fix_encoding(text)
