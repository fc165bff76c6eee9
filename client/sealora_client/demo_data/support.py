"""Which desk of a bank a customer's message is for: three banks, each about four and hardly hearing of the others.

The messages are made for this purpose: a phrasing with its places filled in. No customer wrote any of them.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping
from typing import Final

from sealora_client.demo_data.files import DemoLine, SiteLines, fraction
from sealora_client.demo_data.support_phrasings import PHRASINGS

_AT: Final[Mapping[str, tuple[str, ...]]] = {
    "high-street-bank": ("lost card", "cash machine", "login", "direct debit"),
    "savings-bank": ("mortgage", "interest", "closing account", "statement"),
    "trade-bank": ("transfer", "exchange rate", "fees", "fraud"),
}
"""The desks that each bank's customers write to most."""

_FILLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "amount": ("40", "75", "120", "260", "480", "900", "1,350", "2,200", "5,000", "18,000"),
    "city": ("Graz", "Porto", "Leeds", "Lyon", "Turin", "Ghent", "Oslo", "Malmo", "Brno", "Cork"),
    "day": ("yesterday", "on Monday", "on Friday", "last week", "this morning", "on the 3rd", "over the weekend"),
    "since": ("yesterday", "Monday", "last week", "this morning", "the 3rd", "the weekend"),
    "shop": ("the baker", "a hotel", "a garage", "the chemist", "an online shop", "a florist", "the airline"),
    "currency": ("dollars", "pounds", "francs", "kroner", "zloty", "yen", "forints"),
    "month": ("January", "March", "May", "June", "August", "October", "December"),
}
_OPENINGS: Final = ("", "Hello, ", "Good morning, ", "Dear team, ", "Hi, ")
_ENDINGS: Final = ("", " Thank you.", " Please answer soon.", " Best wishes.")
_AT_HOME = 0.96
_A_PHRASING = 40  # messages
_HELD_OUT = 5  # phrasings of each desk


def support_lines() -> SiteLines:
    """Each bank's records, with the fields message, desk and split.

    Of each desk's messages the bank that is about it has some 96 %, each other one some 2 %. Whole phrasings are held
    out, so that no held-out message is a trained one with another amount.
    """
    lines: dict[str, list[DemoLine]] = {site: [] for site in _AT}
    for home, desks in _AT.items():
        for desk in desks:
            for place, phrasing in enumerate(sorted(PHRASINGS[desk], key=lambda each: fraction("split", each))):
                split = "heldout" if place < _HELD_OUT else "train"
                for message in _messages(phrasing):
                    lines[_site(message, home)].append({"message": message, "desk": desk, "split": split})
    return {site: sorted(own, key=lambda line: fraction("order", str(line["message"]))) for site, own in lines.items()}


def _messages(phrasing: str) -> list[str]:
    """So many messages with the phrasing, its places filled in and more or less politeness around it."""
    made = (
        opening + text + ending for text, opening, ending in itertools.product(_filled(phrasing), _OPENINGS, _ENDINGS)
    )
    every = {message[0].upper() + message[1:] for message in made}
    return sorted(every, key=lambda message: fraction("sample", message))[:_A_PHRASING]


def _filled(phrasing: str) -> Iterator[str]:
    places = [name for _, name, _, _ in string.Formatter().parse(phrasing) if name is not None]
    for way in itertools.product(*(_FILLINGS[name] for name in places)):
        yield phrasing.format(**dict(zip(places, way, strict=True)))


def _site(message: str, home: str) -> str:
    away = [site for site in _AT if site != home]
    drawn = fraction("site", message)
    return home if drawn < _AT_HOME else away[int((drawn - _AT_HOME) / (1 - _AT_HOME) * len(away))]
