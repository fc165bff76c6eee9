"""What a site's operator should know of records that are sound one by one, and odd beside each other or in their words.

For the operator alone: nothing of it leaves the site, and nothing of the records' text is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sealora_client.data.fingerprint import digest_of_record
from sealora_client.data.record import Record
from sealora_client.data.source.places import Places


def remarks(path: Path, places: Places, records: Sequence[Record], control: re.Pattern[str]) -> Iterator[str]:
    """One sentence a matter, with its count and its first lines.

    Args:
        path: of the site's data, for sentences.
        places: where records stand, by their lines.
        records: those that are used, both parts.
        control: finds the names of the model's control tokens in a text.
    """
    copies = _copies(records)
    if copies:
        yield (
            f"{path}: {_counted(copies, len(records))} are exact copies of records before them "
            f"({places.listed(copies)}): each is trained on and protected by itself, so drop them unless that is meant"
        )
    ambiguous = _with_several_responses(records)
    if ambiguous:
        yield (
            f"{path}: {_counted(ambiguous, len(records))} have prompts that other records answer otherwise "
            f"({places.listed(ambiguous)}): if a part of the input lies in a field that is not read, join it to the "
            "prompt"
        )
    named = [record.line for record in records if any(map(control.search, record.texts))]
    if named:
        yield (
            f"{path}: {_counted(named, len(records))} have names of the model's control tokens in their text "
            f"({places.listed(named)}): they are read as plain text, so take them out if a turn was meant to end there"
        )


def _counted(lines: Sequence[int], of: int) -> str:
    return f"{len(lines)} of {of} records ({len(lines) / of:.1%})"


def _copies(records: Sequence[Record]) -> list[int]:
    """Lines of those whose text stood before."""
    first: dict[bytes, int] = {}
    lines = []
    for record in records:
        before = first.setdefault(digest_of_record(*record.texts), record.line)
        if before != record.line:
            lines.append(max(before, record.line))
            first[digest_of_record(*record.texts)] = min(before, record.line)
    return lines


def _with_several_responses(records: Sequence[Record]) -> list[int]:
    """Lines of those whose prompt has several responses."""
    responses: dict[bytes, bytes] = {}
    several: set[bytes] = set()
    for record in records:
        if record.prompt:  # texts that answer nothing
            given, response = digest_of_record(*record.given), digest_of_record(record.response)
            if responses.setdefault(given, response) != response:
                several.add(given)
    return [record.line for record in records if several and digest_of_record(*record.given) in several]
