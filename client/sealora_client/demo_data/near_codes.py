"""Which of two official names a diagnosis has: preferences, the right name against that of a code nearby."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sealora_client.demo_data.files import DemoLine, SiteLines, fraction, part_of
from sealora_client.demo_data.icd10 import Diagnosis, diagnoses_of

_CHAPTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "heart-and-lung": ("9", "10"),
    "mind-and-senses": ("5", "6"),
    "womens-and-family": ("11", "15"),
}

_LONGEST = 60  # characters of each of the three texts


def near_code_lines() -> SiteLines:
    """Each hospital's records, with the fields prompt, chosen, rejected and split.

    The prompt is a text that is coded as the code whose name is chosen; rejected is the name of another code of that
    category (its first three characters). Whole categories are held out.

    Raises:
        DataError: the package `simple-icd-10-cm` is not installed.
    """
    return {
        site: [line for chapter in chapters for line in _lines(list(diagnoses_of(chapter)))]
        for site, chapters in _CHAPTERS.items()
    }


def _lines(diagnoses: Sequence[Diagnosis]) -> Iterator[DemoLine]:
    names = {each.code: each.text for each in diagnoses if each.is_name and len(each.text) <= _LONGEST}
    near: dict[str, list[str]] = defaultdict(list)
    for code in names:
        near[code[:3]].append(code)
    for diagnosis in diagnoses:
        others = [code for code in near[diagnosis.category] if code != diagnosis.code]
        if diagnosis.is_name or len(diagnosis.text) > _LONGEST or diagnosis.code not in names or not others:
            continue
        rejected = others[int(fraction("near", diagnosis.text) * len(others))]
        yield {
            "prompt": diagnosis.text,
            "chosen": names[diagnosis.code],
            "rejected": names[rejected],
            "split": part_of(diagnosis.category),
        }
