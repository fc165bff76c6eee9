"""Which department a diagnosis belongs to: three hospitals, each about four and hardly seeing the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sealora_client.demo_data.files import DemoLine, SiteLines, fraction, part_of
from sealora_client.demo_data.icd10 import Diagnosis, diagnoses_of


@dataclass(frozen=True)
class Department:
    """One department.

    Attributes:
        name: the word for it.
        chapter: of ICD-10-CM, whose diagnoses are its own.
        last: the last category of the chapter that is; None for all.
    """

    name: str
    chapter: str
    last: str | None = None

    def has(self, diagnosis: Diagnosis) -> bool:
        """Whether a diagnosis of the chapter is the department's."""
        return self.last is None or diagnosis.category <= self.last


_AT: Final[Mapping[str, tuple[Department, ...]]] = {
    "heart-and-lung": (
        Department("oncology", "2"),
        Department("cardiology", "9"),
        Department("pulmonology", "10"),
        Department("urology", "14", last="N53"),  # what follows is of breasts and of female organs
    ),
    "mind-and-senses": (
        Department("psychiatry", "5"),
        Department("neurology", "6"),
        Department("ophthalmology", "7"),
        Department("otology", "8"),
    ),
    "womens-and-family": (
        Department("gastroenterology", "11"),
        Department("dermatology", "12"),
        Department("orthopedics", "13"),
        Department("obstetrics", "15"),
    ),
}
"""The departments that each hospital is about."""

_AT_HOME = 0.96
_LONGEST = 56  # characters: on a CPU every token costs
_A_DEPARTMENT = 1400


def department_lines() -> SiteLines:
    """Each hospital's records, with the fields text, label (the chapter's number), department and split.

    Of each department a hospital that is about it has some 96 % of the diagnoses, each other one some 2 %. Whole
    categories (three characters) are held out, so that no held-out text is another side of the body of one that was
    trained on.

    Raises:
        DataError: the package `simple-icd-10-cm` is not installed.
    """
    lines: dict[str, list[DemoLine]] = {site: [] for site in _AT}
    for home, departments in _AT.items():
        for department in departments:
            own = [each for each in diagnoses_of(department.chapter) if department.has(each)]
            short = [each for each in own if len(each.text) <= _LONGEST]
            for diagnosis in sorted(short, key=lambda each: fraction("sample", each.text))[:_A_DEPARTMENT]:
                lines[_site(diagnosis.text, home)].append(
                    {
                        "text": diagnosis.text,
                        "label": department.chapter,
                        "department": department.name,
                        "split": part_of(diagnosis.category),
                    }
                )
    return {site: sorted(own, key=lambda line: fraction("order", str(line["text"]))) for site, own in lines.items()}


def _site(text: str, home: str) -> str:
    away = [site for site in _AT if site != home]
    drawn = fraction("site", text)
    return home if drawn < _AT_HOME else away[int((drawn - _AT_HOME) / (1 - _AT_HOME) * len(away))]
