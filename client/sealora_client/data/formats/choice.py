"""Of which kind a file is: the one place that tells, by its name."""

from __future__ import annotations

from pathlib import Path

from sealora_client.data.formats.arrow import Arrow, Parquet
from sealora_client.data.formats.content import WORKBOOKS
from sealora_client.data.formats.csv_table import CsvTable
from sealora_client.data.formats.json_file import JsonFile, is_json_lines
from sealora_client.data.formats.json_lines import JsonLines
from sealora_client.data.formats.kind import FileKind
from sealora_client.data.formats.packed import unpacked_name
from sealora_client.data.formats.saved_dataset import SavedDataset, is_saved_dataset
from sealora_common.errors import DataError


def file_kind(path: Path, delimiter: str | None = None) -> FileKind:
    """The kind of the file. One whose name says nothing is JSON Lines.

    Args:
        path: a file, or a saved data set's directory.
        delimiter: of a table in text, if somebody said which.

    Raises:
        DataError: it is of a kind that is not read, or a delimiter was given for what has none; or it is called JSON,
            of which the beginning is looked at, and cannot be read.
    """
    suffix = unpacked_name(path).suffix.lower()
    if delimiter is not None and suffix not in (".csv", ".tsv", ".tab"):
        raise DataError(
            f"{path}: a delimiter is given, and only tables in text have one: take it out of the description"
        )
    if suffix in WORKBOOKS:
        raise DataError(f"{path} is a workbook, which is not read: save its sheet as CSV, in UTF-8")
    if is_saved_dataset(path):
        return SavedDataset()
    match suffix:
        case ".json":
            return JsonLines() if is_json_lines(path) else JsonFile()
        case ".csv" | ".tsv" | ".tab":
            return CsvTable(delimiter)
        case ".parquet" | ".pq":
            return Parquet()
        case ".arrow" | ".feather" | ".ipc" | ".arrows":
            return Arrow()
        case _:
            return JsonLines()
