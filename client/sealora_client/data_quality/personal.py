"""Personal data that has a pattern: telephone numbers, addresses of mail, numbers of accounts, papers and insurances.

Found by Presidio's recognisers of patterns, which check digits where a number has some, called one by one: no language
model, nothing downloaded. What has no pattern, as names of people and places, is not found.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sealora_client.data_quality.missing import needing
from sealora_common.errors import DataError

_SUREST_FROM = 0.4
"""The recognisers' own measure. Below it are patterns that any number or word fits, to be believed beside a word that a
language model has found near them."""
_WINDOW = 20_000  # characters of a text that are looked at at a time, as some patterns take long
_OVERLAP = 300  # characters, longer than what is looked for
_DIGITS = re.compile(r"\d(?:\D{0,3}\d){5}")  # what a telephone number has at the least
_REGIONS = {"uk": "GB"}
_GENERAL = (
    "CreditCardRecognizer",
    "CryptoRecognizer",
    "DateRecognizer",
    "IbanRecognizer",
    "IpRecognizer",
    "MacAddressRecognizer",
    "UrlRecognizer",
    "UuidRecognizer",
)


@dataclass(frozen=True)
class PersonalSpan:
    """A stretch of a text that looks like personal data.

    Attributes:
        kind: by Presidio's name, `PHONE_NUMBER`.
        start: its first character's place.
        stop: that of the one after its last.
    """

    kind: str
    start: int
    stop: int


class PersonalPatterns:
    """Finds personal data of every country's kind, and of the kinds of some countries.

    Args:
        countries: whose national numbers are looked for as well, by their codes in Presidio (`de`, `uk`, `us`).
            Telephone numbers without a country's prefix are read as theirs; if none is named, as those of the United
            States, the United Kingdom, Germany, France, Israel, India, Canada and Brazil.

    Attributes:
        kinds: what is looked for, sorted.

    Raises:
        MissingLibraryError: `presidio-analyzer` is not installed.
        DataError: there is nothing for a country of that code.
    """

    def __init__(self, countries: Sequence[str] = ()) -> None:
        recognisers, national = _library()
        unknown = [country for country in countries if country not in national]
        if unknown:
            raise DataError(
                f"--country {unknown[0]}: there are no patterns of that country: choose from {', '.join(national)}"
            )
        options = {"supported_regions": tuple(_REGIONS.get(code, code.upper()) for code in countries)}
        self._phone = recognisers["PhoneRecognizer"](**(options if countries else {}))
        self._others = [
            _email(recognisers["EmailRecognizer"]),
            *(recognisers[name]() for name in _GENERAL),
            *(recognisers[name]() for country in countries for name in national[country]),
        ]
        found = {kind for each in (self._phone, *self._others) for kind in each.supported_entities}
        self.kinds: tuple[str, ...] = tuple(sorted(found))

    def find(self, text: str) -> list[PersonalSpan]:
        """All that is found in `text`, in order, none overlapping: of those that do, the surest, then the longest."""
        spans: list[PersonalSpan] = []
        step = _WINDOW - _OVERLAP
        for start in range(0, max(1, len(text) - _OVERLAP), step):
            is_last = start + _WINDOW >= len(text)
            for span in self._in(text[start : start + _WINDOW]):
                # What begins in the overlap is found whole in the next window.
                if span.start < step or is_last:
                    found = PersonalSpan(span.kind, start + span.start, start + span.stop)
                    if not spans or spans[-1].stop <= found.start:
                        spans.append(found)
        return spans

    def _in(self, text: str) -> list[PersonalSpan]:
        asked = [*self._others, *([self._phone] if _DIGITS.search(text) else [])]
        found = [one for each in asked for one in each.analyze(text, each.supported_entities, None)]
        sure = sorted(
            (one for one in found if one.score >= _SUREST_FROM),
            key=lambda one: (-one.score, one.start - one.end, one.start, one.entity_type),
        )
        taken: list[PersonalSpan] = []
        for one in sure:
            if all(one.end <= other.start or other.stop <= one.start for other in taken):
                taken.append(PersonalSpan(one.entity_type, one.start, one.end))
        return sorted(taken, key=lambda span: span.start)


@cache
def _library() -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The recognisers of patterns by name, and the names of those of each country."""
    for name in ("presidio-analyzer", "tldextract"):  # what they say as they are imported is for their own developers
        logging.getLogger(name).setLevel(logging.ERROR)
    with needing("presidio-analyzer", "finding personal data"):
        from presidio_analyzer import LocalRecognizer, PatternRecognizer, predefined_recognizers
    recognisers: dict[str, Any] = {
        name: value
        for name, value in vars(predefined_recognizers).items()
        if isinstance(value, type) and issubclass(value, LocalRecognizer)
    }
    national: dict[str, list[str]] = {}
    for name, recogniser in sorted(recognisers.items()):
        if issubclass(recogniser, PatternRecognizer) and recogniser.COUNTRY_CODE is not None:
            national.setdefault(recogniser.COUNTRY_CODE, []).append(name)
    return recognisers, dict(sorted(national.items()))


def _email(recogniser: Any) -> Any:
    """The recogniser of addresses of mail, with the list of domains that came with the library.

    By itself it would fetch the newest one.
    """
    from tldextract import TLDExtract

    domains = TLDExtract(suffix_list_urls=(), cache_dir=None)

    class _Offline(recogniser):  # type: ignore[misc]
        def validate_result(self, pattern_text: str) -> bool:
            return bool(domains(pattern_text).fqdn)

    return _Offline()
