"""Pages of a coder's handbook: plain texts, of which the training that made a base model goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sealora_client.demo_data.files import SiteLines, fraction, part_of
from sealora_client.demo_data.icd10 import codes_of, icd10

_CHAPTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "heart-and-lung": ("2", "9", "10"),
    "mind-and-senses": ("5", "6", "7", "8"),
    "womens-and-family": ("14", "15", "16"),
}

_LONGEST = 600  # characters: some 200 tokens


def handbook_lines() -> SiteLines:
    """Each hospital's records, with the fields text and split: a page for each code that has others below it.

    Pages longer than 600 characters end with a line before that. Whole categories (three characters) are held out.

    Raises:
        DataError: the package `simple-icd-10-cm` is not installed.
    """
    return {
        site: [
            {"text": _page(code), "split": part_of(code[:3])}
            for chapter in chapters
            for code in sorted(set(codes_of(chapter)), key=lambda code: fraction("order", code))
            if not icd10().is_leaf(code)
        ]
        for site, chapters in _CHAPTERS.items()
    }


def _page(code: str) -> str:
    page = ""
    for line in _lines(code):
        if page and len(page) + len(line) > _LONGEST:
            break
        page += line
    return page


def _lines(code: str) -> Iterator[str]:
    classification = icd10()
    yield f"{code} {classification.get_description(code)}\n"
    for included in (*classification.get_includes(code), *classification.get_inclusion_term(code)):
        yield f"Includes {included}\n"
    for excluded in (*classification.get_excludes1(code), *classification.get_excludes2(code)):
        yield f"Excludes {excluded}\n"
    for child in classification.get_children(code):
        yield f"{child} {classification.get_description(child)}\n"
