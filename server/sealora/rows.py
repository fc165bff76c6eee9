"""A site's records in memory as rows of JSON: a list of dicts, a DataFrame of pandas, a Dataset of `datasets`.

Neither library is imported: whoever hands an object of one in has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from sealora.arguments import PathText
from sealora.json_values import NoJsonValueError, json_of, text_of
from sealora_common.config import JsonValue
from sealora_common.errors import DataError
from sealora_common.show.safe_text import safe_text

if TYPE_CHECKING:
    import datasets
    import pandas as pd

SiteRecords: TypeAlias = "list[dict[str, object]] | pd.DataFrame | datasets.Dataset | PathText"
"""Records of one site, or the path of their file."""

Row: TypeAlias = dict[str, JsonValue]


def rows_of(site: str, records: object) -> Iterator[Row]:
    """The records one by one, whatever they are in; an index of a DataFrame's is no part of them.

    Args:
        site: whose they are.
        records: see `SiteRecords`, but no path.

    Raises:
        DataError: they are in nothing that is read, or a value is none that JSON has; with site, row and column.
    """
    rows = _rows(site, records)
    if isinstance(records, list | tuple) or _is_of("datasets", "Dataset", records):
        rows = (_row(site, number, row, frozenset()) for number, row in enumerate(rows, 1))
    count = 0
    for row in rows:
        count += 1
        yield row
    if not count:
        raise DataError(f"records of site {site}: there are none: give at least one")


def _rows(site: str, records: object) -> Iterator[Any]:
    if isinstance(records, list | tuple):
        return iter(records)
    if _is_of("pandas", "DataFrame", records):
        return _rows_of_frame(site, records)
    if _is_of("datasets", "Dataset", records):
        _require_names(site, records.column_names)  # type: ignore[attr-defined]
        return iter(records.with_format(None))  # type: ignore[attr-defined]
    kind = type(records).__name__
    if _is_of("datasets", "DatasetDict", records):
        raise DataError(f"records of site {site}: a DatasetDict has several parts: give one, as in data['train']")
    raise DataError(
        f"records of site {site}: a {kind} is not read: give a list of dicts, a pandas DataFrame, a Dataset of "
        "`datasets`, or the path of a file"
    )


def _rows_of_frame(site: str, frame: Any) -> Iterator[Row]:
    _require_names(site, list(frame.columns))
    # In a column that holds no floats pandas writes what is missing as NaN; in one that does, it may be a result.
    others = frozenset(name for name, kind in zip(frame.columns, frame.dtypes, strict=True) if kind.kind != "f")
    columns = [frame.iloc[:, place] for place in range(len(frame.columns))]
    names = [str(name) for name in frame.columns]
    # Column by column, so that a row does not take the common type of its values: 7 stays 7 beside 0.5.
    for number, values in enumerate(zip(*columns, strict=True), 1):
        yield _row(site, number, dict(zip(names, values, strict=True)), others)


def _row(site: str, number: int, row: object, without_floats: frozenset[str]) -> Row:
    if not isinstance(row, Mapping):
        raise DataError(
            f"records of site {site}, row {number}: is a {type(row).__name__}: give each record as a dict of its fields"
        )
    found: Row = {}
    for name, value in row.items():
        where = f"records of site {site}, row {number}, column {safe_text(str(name), 80)!r}"
        if not isinstance(name, str):
            raise DataError(f"{where}: its name is no text: rename it")
        try:
            found[text_of(name)] = json_of(value, nan_is_missing=name in without_floats)
        except NoJsonValueError as error:
            raise DataError(f"{where}: {error}") from None
    return found


def _require_names(site: str, names: Iterable[object]) -> None:
    seen: set[object] = set()
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"records of site {site}: a column is called {name!r}, and fields have text: rename it")
        if name in seen:
            raise DataError(
                f"records of site {site}: two columns are called {safe_text(name, 80)!r}: rename or drop one"
            )
        seen.add(name)


def _is_of(library: str, name: str, value: object) -> bool:
    """Whether it is of a class of a library that nobody need have installed."""
    kind = getattr(sys.modules.get(library), name, None)
    return isinstance(kind, type) and isinstance(value, kind)
