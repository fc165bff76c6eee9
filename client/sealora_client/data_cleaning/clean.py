"""A cleaned copy: which objects are changed and how, which are left out and why, line by line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sealora_client.data.formats.format import Row
from sealora_client.data.record import Record
from sealora_client.data_cleaning.copies import Doings
from sealora_client.data_cleaning.rows import RecordReader, rows_of
from sealora_client.data_cleaning.texts import Change, Redaction, changed, composed, text_fields
from sealora_client.data_quality.damage import without_mojibake
from sealora_client.data_quality.language import UNCLEAR, language_of, languages_told
from sealora_client.data_quality.near import near_groups
from sealora_client.data_quality.personal import PersonalPatterns
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

ALL = "all"
_LeftOut = Callable[[Sequence[Record]], set[int]]
"""The places of those records that are left out."""


@dataclass(frozen=True)
class Steps:
    """What is done, in this order; nothing by itself.

    Attributes:
        mojibake: mend texts that were decoded wrongly.
        normalize: write letters with their accents in one character (NFC).
        trim: take white space from the ends of texts.
        redact: kinds of personal data that are replaced by their names, or `all`.
        countries: whose national numbers are looked for to be replaced.
        unreadable: leave out objects that are no record.
        shortest: leave out records of fewer characters.
        longest: leave out records of more characters.
        languages: leave out records in another language than these; those whose language is unclear stay.
        copies: leave out exact copies of a record before them, of the same person if there are persons.
        near: leave out records that are nearly the same as one before them, from this similarity on, likewise.
    """

    mojibake: bool = False
    normalize: bool = False
    trim: bool = False
    redact: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    unreadable: bool = False
    shortest: int | None = None
    longest: int | None = None
    languages: tuple[str, ...] = ()
    copies: bool = False
    near: float | None = None


def cleaned(path: Path, section: DataSection, steps: Steps) -> tuple[list[dict[str, object]], Doings]:
    """The objects of the copy, in order, and what was done.

    Args:
        path: of the data, which is left as it is.
        section: of the recipe, which says which fields hold text.
        steps: what to do.

    Raises:
        DataError: there is nothing to do, a kind of personal data or a language is not known, the file cannot be read,
            an object is no record and such are not left out, or nothing would be left.
        MissingLibraryError: a step needs a library that is not installed.
    """
    changes, redaction = _changes(steps)
    if not changes and steps == Steps(countries=steps.countries):
        raise DataError("nothing to do: name at least one step, for example --trim or --drop-copies (see --help)")
    filters = _filters(steps)
    doings, reader = Doings(), RecordReader(path, section)
    kept: list[tuple[Row, Record]] = []
    problems: list[str] = []
    for found in rows_of(path):
        doings.read += 1
        row = _with_changes(found, section, changes, redaction, doings)
        try:
            kept.append((row, reader.record(row)))
        except DataError as error:
            problems.append(str(error))
            doings.note("left out: no record", row.line)
    if problems and not steps.unreadable:
        more = f" (and {len(problems) - 1} more such lines)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}; or leave such lines out with --drop-unreadable")
    for step, left_out in filters:
        gone = left_out([record for _, record in kept])
        for place in sorted(gone):
            doings.note(f"left out: {step}", kept[place][0].line)
        kept = [each for place, each in enumerate(kept) if place not in gone]
    if not kept:
        raise DataError(f"{path}: no record would be left: leave out fewer")
    doings.written = len(kept)
    return [dict(row.fields) for row, _ in kept], doings


def _changes(steps: Steps) -> tuple[list[tuple[str, Change]], Redaction | None]:
    changes: list[tuple[str, Change]] = []
    if steps.mojibake:
        without_mojibake("")  # says now that its library is missing
        changes.append(("mojibake mended", without_mojibake))
    if steps.normalize:
        changes.append(("letters composed (NFC)", composed))
    if steps.trim:
        changes.append(("white space taken from the ends", str.strip))
    return changes, _redaction(steps)


def _redaction(steps: Steps) -> Redaction | None:
    if not steps.redact:
        return None
    patterns = PersonalPatterns(steps.countries)
    unknown = [kind for kind in steps.redact if kind not in (ALL, *patterns.kinds)]
    if unknown:
        raise DataError(
            f"--redact {unknown[0]}: there is no such kind of personal data: choose from {ALL}, "
            f"{', '.join(patterns.kinds)}, or name its --country"
        )
    return Redaction(patterns, set(patterns.kinds if ALL in steps.redact else steps.redact))


def _with_changes(
    row: Row,
    section: DataSection,
    changes: Sequence[tuple[str, Change]],
    redaction: Redaction | None,
    doings: Doings,
) -> Row:
    names, fields = text_fields(section, row.fields), dict(row.fields)
    for step, change in changes:
        before, fields = fields, changed(fields, names, change)
        if fields != before:
            doings.note(step, row.line)
    if redaction is not None:
        redaction.found.clear()
        fields = changed(fields, names, redaction)
        for kind, places in sorted(redaction.found.items()):
            doings.note(f"replaced: {kind}", row.line, places)
    return replace(row, fields=fields)


def _filters(steps: Steps) -> list[tuple[str, _LeftOut]]:
    filters: list[tuple[str, _LeftOut]] = []
    unknown = [code for code in steps.languages if code not in languages_told()]
    if unknown:
        raise DataError(
            f"--language {unknown[0]}: there is no such language: choose from {', '.join(languages_told())} (ISO 639)"
        )
    if steps.shortest is not None or steps.longest is not None:
        filters.append(("length", lambda records: _of_other_length(records, steps.shortest, steps.longest)))
    if steps.languages:
        filters.append(("language", lambda records: _of_other_language(records, steps.languages)))
    if steps.copies:
        filters.append(("exact copy", _copies))
    similarity = steps.near
    if similarity is not None:
        filters.append(("nearly the same", lambda records: _near_copies(records, similarity)))
    return filters


def _of_other_length(records: Sequence[Record], shortest: int | None, longest: int | None) -> set[int]:
    lengths = [sum(map(len, record.texts)) for record in records]
    return {
        place
        for place, length in enumerate(lengths)
        if (shortest is not None and length < shortest) or (longest is not None and length > longest)
    }


def _of_other_language(records: Sequence[Record], wanted: Sequence[str]) -> set[int]:
    told = [language_of("\n".join(record.texts)) for record in records]
    return {place for place, code in enumerate(told) if code not in (*wanted, UNCLEAR)}


def _copies(records: Sequence[Record]) -> set[int]:
    return _repeated([(record.person, record.texts) for record in records])


def _near_copies(records: Sequence[Record], similarity: float) -> set[int]:
    groups = near_groups(["\n".join(record.texts) for record in records], similarity)
    return _repeated([(record.person, group) for record, group in zip(records, groups, strict=True)])


def _repeated(names: Sequence[object]) -> set[int]:
    """Places of those that stood before."""
    seen: set[object] = set()
    gone = set()
    for place, name in enumerate(names):
        if name in seen:
            gone.add(place)
        seen.add(name)
    return gone
