"""The records that a site evaluates an adapter on, and what a column of its data says of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealora_client.data.fingerprint import digest_of_record, digest_of_row
from sealora_client.data.formats.format import Row
from sealora_client.data.load import read_records_of
from sealora_client.data.record import Record
from sealora_client.data.records import read_as_one, require_fit
from sealora_client.data.source.places import Places
from sealora_client.data.source.rows import source_rows
from sealora_common.errors import DataError
from sealora_common.recipe import Recipe
from sealora_common.show.safe_text import safe_text

MOST_VALUES = 50
"""Of a column that records are told apart by."""
NO_VALUE = "(none)"
_NAMED = 30


@dataclass(frozen=True)
class EvaluatedRecords:
    """What is evaluated.

    Attributes:
        records: in the order of the file.
        source: what they are, for people: "held-out records", or the name of a file.
        trained_on: how many of them are, by their text, among those that the site trains on.
        columns: name of each column that they are told apart by -> its value for each record.
    """

    records: Sequence[Record]
    source: str
    trained_on: int
    columns: Mapping[str, Sequence[str]]


def records_to_evaluate(
    own: Path, recipe: Recipe, newer: Path | None = None, columns: Sequence[str] = ()
) -> EvaluatedRecords:
    """Those that evaluations of the run measure, or all of another file.

    Args:
        own: the site's data.
        recipe: of the run.
        newer: the other file, a saved data set's directory, or a description, in the recipe's layout; whom it holds out
            is not asked.
        columns: fields of the data that records are told apart by.

    Raises:
        DataError: a file cannot be used, or has no such column, or one of too many values.
    """
    site = read_records_of(own, recipe)
    path, records, source = own, site.heldout, "held-out records"
    if newer is not None:
        path, source = newer, f"all records of {safe_text(newer.name)}"
        records, _ = read_as_one(newer, recipe.data)
    trained = set(site.train_set.records)
    return EvaluatedRecords(
        records=records,
        source=source,
        trained_on=sum(digest_of_record(*record.texts) in trained for record in records),
        columns={column: values_of(path, column, records) for column in columns},
    )


def values_of(path: Path, column: str, records: Sequence[Record]) -> list[str]:
    """The value of a column for each record, as text; `NO_VALUE` where there is none.

    Raises:
        DataError: there is no such column, its values are no single ones, there are more than `MOST_VALUES`, or the
            data are others than the records were read from.
    """
    wanted = {record.line: record.row for record in records}
    found: dict[int, str] = {}
    names: set[str] = set()
    is_there = False
    for row in source_rows(path, Places(str(path)), _raise):
        names.update(list(row.fields)[:_NAMED])
        if row.line not in wanted:
            continue
        if digest_of_row(row.fields if row.said is None else row.said) != wanted[row.line]:
            raise _changed(path)
        is_there = is_there or column in row.fields or column in row.unfit
        found[row.line] = _value(row, column)
    if found.keys() != wanted.keys():
        raise _changed(path)
    if not is_there:
        known = ", ".join(safe_text(name, _NAMED) for name in sorted(names)[:_NAMED])
        raise DataError(f'{path}: no record has a field "{column}": name one of {known}')
    values = [found[record.line] for record in records]
    if (count := len(set(values))) > MOST_VALUES:
        raise DataError(
            f'{path}: the field "{column}" has {count} values, and more than {MOST_VALUES} are no groups: name a field '
            "that many records share, such as sex, ward or age band"
        )
    return values


def _value(row: Row, column: str) -> str:
    require_fit(row, column)
    value = row.fields.get(column)
    if isinstance(value, list | dict):
        raise DataError(f'{row.place}: the field "{column}" holds several values: name one with a single value')
    text = value.strip() if isinstance(value, str) else "" if value is None else json.dumps(value)
    return safe_text(text) or NO_VALUE


def _raise(error: DataError) -> None:
    raise error


def _changed(path: Path) -> DataError:
    return DataError(f"{path}: has changed while it was read: leave it as it is meanwhile, and run the command again")
