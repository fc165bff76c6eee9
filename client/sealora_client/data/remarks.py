"""What a site's operator should know of records that are sound one by one, and odd beside each other or in their words.

For the operator alone: nothing of it leaves the site, and nothing of the records' text is in it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from sealora_client.data.record import Record

_PLACES = 5  # lines that a sentence names


def remarks(path: Path, records: Sequence[Record], control: re.Pattern[str]) -> Iterator[str]:
    """One sentence a matter, with its count and its first lines.

    Args:
        path: of the records' file, for sentences.
        records: those that are used, both parts.
        control: finds the names of the model's control tokens in a text.
    """
    copies = _copies(records)
    if copies:
        yield (
            f"{path}: {_counted(copies, len(records))} are exact copies of records before them ({listed(copies)}): "
            "each is trained on and protected by itself, so drop them unless that is meant"
        )
    ambiguous = _with_several_responses(records)
    if ambiguous:
        yield (
            f"{path}: {_counted(ambiguous, len(records))} have prompts that other records answer otherwise "
            f"({listed(ambiguous)}): if a part of the input lies in a field that is not read, join it to the prompt"
        )
    named = [record.line for record in records if any(map(control.search, record.texts))]
    if named:
        yield (
            f"{path}: {_counted(named, len(records))} have names of the model's control tokens in their text "
            f"({listed(named)}): they are read as plain text, so take them out if a turn was meant to end there"
        )


def listed(lines: Sequence[int]) -> str:
    """The first few of these lines, and how many more there are.

    >>> listed([9, 3])
    'lines 3, 9'
    """
    named = ("line " if len(lines) == 1 else "lines ") + ", ".join(map(str, sorted(lines)[:_PLACES]))
    return f"{named} and {len(lines) - _PLACES} more" if len(lines) > _PLACES else named


def _counted(lines: Sequence[int], of: int) -> str:
    return f"{len(lines)} of {of} records ({len(lines) / of:.1%})"


def _copies(records: Sequence[Record]) -> list[int]:
    """Lines of those whose text stood before."""
    seen: set[tuple[str, ...]] = set()
    lines = []
    for record in sorted(records, key=lambda record: record.line):
        if record.texts in seen:
            lines.append(record.line)
        seen.add(record.texts)
    return lines


def _with_several_responses(records: Sequence[Record]) -> list[int]:
    """Lines of those whose prompt has several responses."""
    responses: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for record in records:
        if record.prompt:  # texts that answer nothing
            responses[record.given].add(record.response)
    return [record.line for record in records if len(responses[record.given]) > 1]
