"""The demo's data: three specialised hospitals, made from the ICD-10-CM classification of diagnoses.

ICD-10-CM is United States government text, carried by the package `simple-icd-10-cm` (MIT). Each hospital gets
one chapter, so the sites differ as real ones do (strongly non-IID) and none alone learns the others' codes.
Every diagnosis text becomes exactly one record: most ask for the code of a diagnosis, some for the meaning of a
code. Prompts and responses are short, because on a CPU every token costs.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sealora_common.config import read_file
from sealora_common.errors import DataError, UnreadableError, storage_error
from sealora_common.storage.durable import write_atomically

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hospital:
    """What one demo site records: a chapter of ICD-10-CM, and the word its records use for that chapter."""

    chapter: str
    speciality: str


HOSPITALS: Mapping[str, Hospital] = {
    "heart-hospital": Hospital("9", "circulatory"),
    "cancer-centre": Hospital("2", "neoplasm"),
    "maternity-clinic": Hospital("15", "pregnancy"),
}


@dataclass(frozen=True)
class DemoSite:
    """One site's file as `build_demo` left it."""

    name: str
    path: Path
    train: int
    heldout: int


def build_demo(
    directory: Path, hospitals: Mapping[str, Hospital] = HOSPITALS, heldout_fraction: float = 0.1
) -> list[DemoSite]:
    """Writes `<directory>/<site>.jsonl` for each hospital, with the fields prompt, response and split.

    The output depends on the arguments and the classification alone. A file that already holds it is left as it
    is. All records of a code fall into the same part, so no held-out code was ever trained on.

    Args:
        directory: where the files go; created if it is missing.
        hospitals: site name -> what it records.
        heldout_fraction: share of the codes that go to the held-out part, in (0, 1).

    Returns:
        The sites, in the order of `hospitals`, with their record counts.

    Raises:
        DataError: the package `simple-icd-10-cm` is not installed.
        StorageError: a file could not be written.
    """
    classification = _classification()
    sites = []
    for name, hospital in hospitals.items():
        records = list(_records(classification, hospital, heldout_fraction))[::-1]
        content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
        path = directory / f"{name}.jsonl"
        if not _holds(path, content):
            write_atomically(path, content)
        heldout = sum(record["split"] == "heldout" for record in records)
        sites.append(DemoSite(name, path, len(records) - heldout, heldout))
        log.info("%s: %d training and %d held-out records in %s", name, len(records) - heldout, heldout, path)
    return sites


def _records(classification: Any, hospital: Hospital, heldout_fraction: float) -> Iterator[dict[str, str]]:
    seen: set[str] = set()
    # From the end, so that of a code and its only subcode, which share one text, the precise one is kept.
    for code in reversed(classification.get_descendants(hospital.chapter)):
        if classification.is_block(code) and not classification.is_category(code):
            continue  # a range such as I20-I25 is no code
        split = "heldout" if _fraction("split", code) < heldout_fraction else "train"
        description = classification.get_description(code)
        for text in (description, *classification.get_inclusion_term(code)):
            if text.casefold() in seen:
                continue
            seen.add(text.casefold())
            if text == description and _fraction("direction", code) < 1 / 3:
                prompt, response = f"Describe code {code}.", text
            else:
                prompt, response = f"Code this diagnosis: {text}", f"{code}, {hospital.speciality}"
            yield {"prompt": prompt, "response": response, "split": split}


def _fraction(purpose: str, code: str) -> float:
    """A number in [0, 1) that depends on the code alone."""
    head = hashlib.sha256(f"{purpose}:{code}".encode()).digest()[:8]
    return int.from_bytes(head, "big") / 2**64


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_file(path, len(content)) == content
    except (FileNotFoundError, UnreadableError):
        return False
    except OSError as error:
        raise storage_error(path, error) from error


def _classification() -> ModuleType:
    try:
        import simple_icd_10_cm
    except ImportError as error:
        raise DataError(
            "the demo data needs the package simple-icd-10-cm, which is not installed: run pip install 'sealora[demo]'"
        ) from error
    module: ModuleType = simple_icd_10_cm
    return module
