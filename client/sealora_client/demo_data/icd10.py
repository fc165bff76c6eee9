"""ICD-10-CM, the United States' classification of diagnoses: government text, in the public domain.

The package `simple-icd-10-cm` (MIT) carries it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from sealora_common.errors import DataError


@dataclass(frozen=True)
class Diagnosis:
    """One text of the classification.

    Attributes:
        code: what it is coded as, `I21.9`.
        text: the code's name, or another text that is coded so.
        is_name: whether it is the code's name.
    """

    code: str
    text: str
    is_name: bool

    @property
    def category(self) -> str:
        """The three characters that codes of one kind begin with."""
        return self.code[:3]


def icd10() -> Any:
    """The package, which has no types.

    Raises:
        DataError: it is not installed.
    """
    try:
        import simple_icd_10_cm
    except ImportError as error:
        raise DataError(
            "the demo data needs the package simple-icd-10-cm, which is not installed: run pip install 'sealora[demo]'"
        ) from error
    module: ModuleType = simple_icd_10_cm
    return module


def codes_of(chapter: str) -> list[str]:
    """The codes of a chapter, `9`, from the last to the first: categories and all below them."""
    classification = icd10()
    codes: list[str] = classification.get_descendants(chapter)
    # A range such as I20-I25 is no code.
    return [code for code in reversed(codes) if classification.is_category(code) or not classification.is_block(code)]


def diagnoses_of(chapter: str) -> Iterator[Diagnosis]:
    """Every text of a chapter once, whatever its case.

    It goes from the end, so that of a code and its only subcode, which share one text, the precise one is kept.
    """
    classification = icd10()
    seen: set[str] = set()
    for code in codes_of(chapter):
        name = classification.get_description(code)
        for text in (name, *classification.get_inclusion_term(code)):
            if text.casefold() not in seen:
                seen.add(text.casefold())
                yield Diagnosis(code, text, text == name)
