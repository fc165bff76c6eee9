"""Which language a text is in, by py3langid: some 130, by their codes of ISO 639, with a model of its own package."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final, Protocol

from sealora_client.data_quality.missing import needing

UNCLEAR: Final = "unclear"
"""Said of a text that is too short, or too mixed, to be told."""
_FEWEST_LETTERS = 20
_NONE = "zxx"  # said of what is no language
_SUREST_FROM = 0.8
_LONGEST = 4000  # characters of a text that are looked at


class _Identifier(Protocol):
    def classify(self, text: str, /) -> tuple[str, float]: ...

    @property
    def labels(self) -> Iterable[str]: ...


def languages_told() -> tuple[str, ...]:
    """The codes of all languages that can be told, sorted.

    Raises:
        MissingLibraryError: `py3langid` is not installed.
    """
    return tuple(sorted(code for code in _identifier().labels if code != _NONE))


def language_of(text: str) -> str:
    """The language's code, or `UNCLEAR`.

    Raises:
        MissingLibraryError: `py3langid` is not installed.
    """
    seen = text[:_LONGEST]
    identifier = _identifier()
    if sum(map(str.isalpha, seen)) < _FEWEST_LETTERS:
        return UNCLEAR
    code, probability = identifier.classify(seen)
    return code if code != _NONE and probability >= _SUREST_FROM else UNCLEAR


@cache
def _identifier() -> _Identifier:
    with needing("py3langid", "telling languages"):
        from py3langid import langid
    identifier: _Identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    return identifier
