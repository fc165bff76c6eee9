"""The policy that a site begins with: careful, and as careful as its data asks for.

Its delta follows from how many are in the data: delta is the chance that a promise does not hold at all, and a promise
that fails once in as many as there are records may publish one of them outright. So it is the largest power of ten
below half of 1 / records, and no more than `LARGEST_DELTA`. It is worked out once, when the file is written, and stands
there as a number: what a site says of an order depends on the file and on no record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sealora_client.data.formats.kind import refuse
from sealora_client.data.source.places import Places
from sealora_client.data.source.rows import source_rows
from sealora_client.site.policy import SitePolicy
from sealora_common.errors import SealoraError
from sealora_common.privacy.accounting import sound_delta

EPSILON_LIMIT: Final = 8.0
LARGEST_DELTA: Final = 1e-4
DELTA_UNKNOWN: Final = 1e-5
"""For data that cannot be counted yet: enough for 50,000 records."""


def careful_delta(records: int | None) -> float:
    """The delta that a site with so many records (or persons) begins with; None if that is not known."""
    return DELTA_UNKNOWN if not records else min(LARGEST_DELTA, sound_delta(records))


def careful_policy(records: int | None) -> SitePolicy:
    """The policy that a site with so many records (or persons) begins with, whatever the recipe is."""
    return SitePolicy(epsilon_limit=EPSILON_LIMIT, delta_limit=careful_delta(records))


def why_delta(records: int | None) -> str:
    """In a few words, where `careful_delta` comes from."""
    if not records:
        return "the data could not be counted: best a power of ten below half of 1 / the number of records"
    return "a power of ten below half of 1 / the number of records here"


def count_rows(path: Path) -> int | None:
    """How many rows there are in a site's data, whatever recipe will read them; None if that cannot be told."""
    try:
        return sum(1 for _ in source_rows(path, Places(str(path)), refuse)) or None
    except (SealoraError, OSError):
        return None
