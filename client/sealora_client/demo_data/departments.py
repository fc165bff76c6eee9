"""Which department a diagnosis belongs to: three hospitals that see all departments, and some far more than others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sealora_client.demo_data.files import DemoLine, SiteLines, fraction, part_of
from sealora_client.demo_data.icd10 import diagnoses_of

_HOME: Final[Mapping[str, tuple[str, ...]]] = {
    "heart-and-lung": ("2", "9", "10"),
    "mind-and-senses": ("5", "6", "7"),
    "womens-and-family": ("11", "12", "15"),
}
"""The chapters of ICD-10-CM that each hospital is about. The recipe has a word for each."""

_AT_HOME = 0.7
_LONGEST = 56  # characters: on a CPU every token costs
_A_CHAPTER = 900


def department_lines() -> SiteLines:
    """Each hospital's records, with the fields text, label (the chapter's number) and split.

    Of each chapter a hospital that is about it has some 70 %, each other one some 15 %. Whole categories (three
    characters) are held out, so that no held-out text is another side of the body of one that was trained on.

    Raises:
        DataError: the package `simple-icd-10-cm` is not installed.
    """
    lines: dict[str, list[DemoLine]] = {site: [] for site in _HOME}
    for home, chapters in _HOME.items():
        for chapter in chapters:
            short = [diagnosis for diagnosis in diagnoses_of(chapter) if len(diagnosis.text) <= _LONGEST]
            for diagnosis in sorted(short, key=lambda each: fraction("sample", each.text))[:_A_CHAPTER]:
                lines[_site(diagnosis.text, home)].append(
                    {"text": diagnosis.text, "label": chapter, "split": part_of(diagnosis.category)}
                )
    return {site: sorted(own, key=lambda line: fraction("order", str(line["text"]))) for site, own in lines.items()}


def _site(text: str, home: str) -> str:
    away = [site for site in _HOME if site != home]
    drawn = fraction("site", text)
    return home if drawn < _AT_HOME else away[int((drawn - _AT_HOME) / (1 - _AT_HOME) * len(away))]
