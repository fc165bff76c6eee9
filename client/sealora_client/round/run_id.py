"""A run's id at a site: what it may be, for it names files there, and the beginning by which a person names it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sealora_common.errors import PolicyError

RUN_ID = re.compile(r"[0-9a-f]{32}")
SHORTEST_BEGINNING = 4
"""Letters of a run's id that a person must type."""


def run_beginning(named: str, known: Iterable[str]) -> str | None:
    """The id of the one run that begins so; None if none does, or too little of it was given.

    Args:
        named: what a person typed.
        known: ids of runs.

    Raises:
        PolicyError: several begin so.
    """
    found = {run for run in known if run.startswith(named)} if len(named) >= SHORTEST_BEGINNING else set()
    if len(found) > 1:
        raise PolicyError(f"{named}: is the beginning of {len(found)} runs' ids: give more of it")
    return found.pop() if found else None
