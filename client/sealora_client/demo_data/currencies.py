"""What a currency is called in several languages, and its ISO 4217 code: three banks with four languages each.

The names are those of the Unicode CLDR (Unicode licence), which the package `babel` carries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sealora_client.demo_data.files import DemoLine, SiteLines, fraction, part_of
from sealora_common.errors import DataError

LANGUAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "alpine-bank": ("de", "fr", "it", "nl"),
    "nordic-bank": ("sv", "da", "nb", "fi"),
    "iberian-bank": ("es", "pt", "ca", "gl"),
}

_COUNTS = (1, 2, 5)
"""Numbers for which languages have forms of their own: `zloty`, `zlotys`."""


def currency_lines() -> SiteLines:
    """Each bank's records, with the fields prompt, response, language and split: every name of a currency in use once.

    All forms of a name in one language fall into the same part, and what is held out at one bank is trained on at none,
    so a held-out name was seen in other languages, and in others' spelling, but not as it stands.

    Raises:
        DataError: the package `babel` is not installed.
    """
    lines = {site: list(_records(languages)) for site, languages in LANGUAGES.items()}
    heldout = {str(line["prompt"]).casefold() for own in lines.values() for line in own if line["split"] == "heldout"}
    return {
        site: [line for line in own if line["split"] == "heldout" or str(line["prompt"]).casefold() not in heldout]
        for site, own in lines.items()
    }


def _records(languages: tuple[str, ...]) -> Iterator[DemoLine]:
    numbers = _numbers()
    seen: set[str] = set()
    names = [(language, code) for language in languages for code in _in_use()]
    for language, code in sorted(names, key=lambda name: fraction("order", "-".join(name))):
        forms = (numbers.get_currency_name(code, locale=language, count=count) for count in (None, *_COUNTS))
        for form in forms:
            if form.casefold() not in seen:
                seen.add(form.casefold())
                part = part_of(f"{language}-{code}")
                yield {"prompt": form, "response": code, "language": language, "split": part}


def _in_use() -> list[str]:
    """Codes of the currencies that are legal tender somewhere and have no end yet."""
    import babel.core

    territories = babel.core.get_global("territory_currencies").values()
    return sorted({code for rows in territories for code, _, end, tender in rows if end is None and tender})


def _numbers() -> Any:
    try:
        import babel.numbers
    except ImportError as error:
        raise DataError(
            "the data of this demo needs the package babel, which is not installed: run pip install 'sealora[demo]'"
        ) from error
    return babel.numbers
