"""A report's numbers as tables, the same for every face."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sealora_client.data_report.report import DataReport, Spread
from sealora_common.show.safe_text import safe_text

_NAMES = 20
_NAME = 60
_SPREAD = ("least", "half have at most", "90% at most", "99% at most", "most")


@dataclass(frozen=True)
class ReportTable:
    """A table of texts.

    Attributes:
        title: what it is about.
        columns: their heads; the first names the rows.
        rows: as many texts each as there are columns.
        note: what to know of it; may be empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(report: DataReport) -> list[ReportTable]:
    """Those that have something in them, in the order in which a person reads them."""
    return [table for table in _tables(report) if table.rows]


def _tables(report: DataReport) -> Iterator[ReportTable]:
    yield ReportTable(
        "Records and units of privacy",
        ("part", "records", "units"),
        tuple((size.heap, _number(size.records), _number(size.units)) for size in report.sizes),
        "Of the held-out ones, those that are evaluated are chosen by a hash, the same each time.",
    )
    named = tuple((safe_text(name, _NAME),) for name in report.unread[:_NAMES])
    yield ReportTable(
        "Fields that are not read",
        ("field",),
        named if len(report.unread) <= _NAMES else (*named, (f"and {len(report.unread) - _NAMES} more",)),
        "Nothing of them is shown to the model: if something should be, choose another data.layout, or data.fields.",
    )
    persons = [(size.heap, size.records_of_unit) for size in report.sizes if size.records_of_unit is not None]
    yield ReportTable(
        "Records of a person",
        ("part", *_SPREAD),
        tuple((heap, *_spread(spread)) for heap, spread in persons),
    )
    cut = [] if report.too_long is None or report.too_long.cut is None else [report.too_long.cut]
    yield ReportTable(
        "Lengths",
        ("of a record", *_SPREAD),
        (
            *((length.of, *_spread(length.spread)) for length in report.lengths),
            *(("tokens cut, of those too long", *_spread(spread)) for spread in cut),
        ),
    )
    yield _shown(report)
    yield _alike(report)
    yield ReportTable(
        "Labels",
        ("label", "training", "held out"),
        tuple((tally.name, _number(tally.training), _number(tally.heldout)) for tally in report.labels),
        "Labels that the recipe does not name go by their rank.",
    )
    yield ReportTable(
        "Languages",
        ("language", "records"),
        tuple((tally.name, _number(tally.records)) for tally in report.languages),
        "By ISO 639; texts that are short or mixed are unclear.",
    )
    yield ReportTable(
        "Texts that look damaged",
        ("damage", "records"),
        tuple((tally.damage, _number(tally.records)) for tally in report.damage),
    )
    if report.personal is not None:
        found = {tally.kind: tally for tally in report.personal.found}
        yield ReportTable(
            "Personal data that has a pattern",
            ("kind", "records", "places"),
            tuple((tally.kind, _number(tally.records), _number(tally.places)) for tally in found.values())
            or (("none", "0", "0"),),
            f"Looked for: {', '.join(report.personal.looked_for)}. Names of people and places have no pattern and are "
            "not found.",
        )


def _shown(report: DataReport) -> ReportTable:
    rows: list[tuple[str, ...]] = []
    if report.too_long is not None:
        rows.append((f"cut to data.max_tokens {report.too_long.limit}", _number(report.too_long.records)))
        rows += [(f"teach nothing: {tally.name}", _number(tally.records)) for tally in report.unusable]
    return ReportTable("What the model is shown", ("matter", "records"), tuple(rows))


def _alike(report: DataReport) -> ReportTable:
    rows: list[tuple[str, ...]] = []
    if report.sizes:
        rows.append(("exact copies of records before them", _number(report.copies)))
    note = ""
    if report.likeness is not None:
        rows += [
            ("nearly the same as records before them, copies included", _number(report.likeness.repeated)),
            ("groups of records that are nearly the same", _number(report.likeness.groups)),
            ("held out, and nearly the same as a training record", _number(report.likeness.leaked)),
        ]
        note = (
            f"Nearly the same: {report.likeness.similarity:.0%} of the five-character pieces of two records' texts are "
            f"shared; {_number(report.likeness.looked_at)} records were compared."
        )
    return ReportTable("Duplicates", ("matter", "number"), tuple(rows), note)


def _spread(spread: Spread) -> tuple[str, ...]:
    return tuple(map(_number, spread.model_dump().values()))


def _number(number: int) -> str:
    return f"{number:,}"
