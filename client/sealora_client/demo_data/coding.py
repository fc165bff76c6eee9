"""The demo's data: three specialised hospitals, made from the ICD-10-CM classification of diagnoses.

Each hospital gets one chapter, so the sites differ as real ones do (strongly non-IID) and none alone learns the
others' codes. Every diagnosis text becomes exactly one record: most ask for the code of a diagnosis, some for the
meaning of a code. Prompts and responses are short, because on a CPU every token costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sealora_client.demo_data.files import SiteLines, fraction, part_of
from sealora_client.demo_data.icd10 import diagnoses_of


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


def coding_lines(hospitals: Mapping[str, Hospital] = HOSPITALS, heldout_fraction: float = 0.1) -> SiteLines:
    """Each hospital's records, with the fields prompt, response and split.

    They depend on the arguments and the classification alone. All records of a code fall into the same part, so no
    held-out code was ever trained on.

    Args:
        hospitals: site name -> what it records.
        heldout_fraction: share of the codes that go to the held-out part, in (0, 1).

    Raises:
        DataError: the package `simple-icd-10-cm` is not installed.
    """
    return {name: list(_records(hospital, heldout_fraction))[::-1] for name, hospital in hospitals.items()}


def _records(hospital: Hospital, heldout_fraction: float) -> Iterator[dict[str, str]]:
    for diagnosis in diagnoses_of(hospital.chapter):
        code, text = diagnosis.code, diagnosis.text
        if diagnosis.is_name and fraction("direction", code) < 1 / 3:
            prompt, response = f"Describe code {code}.", text
        else:
            prompt, response = f"Code this diagnosis: {text}", f"{code}, {hospital.speciality}"
        yield {"prompt": prompt, "response": response, "split": part_of(code, heldout_fraction)}
