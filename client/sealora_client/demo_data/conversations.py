"""A coder and an assistant talk about a diagnosis: its code, its category, and what is coded elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sealora_client.demo_data.files import DemoLine, SiteLines, fraction, part_of
from sealora_client.demo_data.icd10 import Diagnosis, diagnoses_of, icd10

_CHAPTERS: Final[Mapping[str, str]] = {"heart-hospital": "9", "cancer-centre": "2", "maternity-clinic": "15"}
_LONGEST = 50  # characters of a text that is spoken of
_A_SITE = 1200
_ELSEWHERE: Final = re.compile(r"(?P<text>.+) \((?P<code>[A-Z][0-9A-Z.]+)-?\)")
"""An excluded diagnosis as the classification writes it: `old myocardial infarction (I25.2)`."""


def conversation_lines() -> SiteLines:
    """Each hospital's records, with the fields messages and split: two exchanges, or three.

    Whole categories (three characters) are held out.

    Raises:
        DataError: the package `simple-icd-10-cm` is not installed.
    """
    return {site: list(_conversations(chapter)) for site, chapter in _CHAPTERS.items()}


def _conversations(chapter: str) -> Iterator[DemoLine]:
    short = [each for each in diagnoses_of(chapter) if len(each.text) <= _LONGEST and each.code != each.category]
    for diagnosis in sorted(short, key=lambda each: fraction("sample", each.text))[:_A_SITE]:
        yield {"messages": list(_turns(diagnosis)), "split": part_of(diagnosis.category)}


def _turns(diagnosis: Diagnosis) -> Iterator[dict[str, str]]:
    classification, category = icd10(), diagnosis.category
    name: str = classification.get_description(category)
    yield from _exchange(f"Code this: {diagnosis.text}", diagnosis.code)
    yield from _exchange("Which category is that?", f"{category}, {name}")
    elsewhere = _first_elsewhere([*classification.get_excludes1(category), *classification.get_excludes2(category)])
    if elsewhere is not None:
        yield from _exchange(f"Is {elsewhere['text']} coded there, too?", f"No, as {elsewhere['code']}")


def _exchange(user: str, assistant: str) -> Iterator[dict[str, str]]:
    yield {"role": "user", "content": user}
    yield {"role": "assistant", "content": assistant}


def _first_elsewhere(excluded: Sequence[str]) -> re.Match[str] | None:
    found = (_ELSEWHERE.fullmatch(text) for text in excluded)
    return next((match for match in found if match is not None and len(match["text"]) <= _LONGEST), None)
