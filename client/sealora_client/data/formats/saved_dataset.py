"""A directory that Hugging Face's `datasets` wrote by `save_to_disk`: Arrow streams, and a list of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from sealora_client.data.formats.arrow import Arrow, numbered
from sealora_client.data.formats.format import Row
from sealora_client.data.formats.kind import FileKind, Noun, Tell, refuse
from sealora_common.config import LINE, from_json, read_file, why_not
from sealora_common.errors import DataError, UnreadableError

STATE = "state.json"
SPLITS = "dataset_dict.json"

Model = TypeVar("Model", bound=BaseModel)


class _DataFile(BaseModel):
    filename: str = Field(pattern=r"^[^/\\]+\.arrow$")


class _State(BaseModel):
    model_config = ConfigDict(extra="ignore")

    files: list[_DataFile] = Field(alias="_data_files")


class _Splits(BaseModel):
    splits: list[str]


class SavedDataset(FileKind):
    """One data set; a dictionary of several is refused with what to name instead."""

    noun: Noun = "row"

    def rows(self, path: Path, tell: Tell = refuse) -> Iterator[Row]:
        """The rows of all its files, counted through."""
        try:
            if (path / SPLITS).exists():
                splits = ", ".join(_read(_Splits, path / SPLITS).splits)
                raise DataError(
                    f"{path} holds several data sets ({splits}): name one of its directories, or list them in a "
                    "description (*.yaml) with which part each is, see docs/data.md"
                )
            count = 0
            for file in _read(_State, path / STATE).files:
                for row in numbered(path, Arrow().rows(path / file.filename, tell), count + 1):
                    count = row.line
                    yield row
        except DataError as error:
            tell(error)


def is_saved_dataset(path: Path) -> bool:
    """Whether the directory is one that `save_to_disk` writes."""
    return path.is_dir() and ((path / STATE).exists() or (path / SPLITS).exists())


def files_of_dataset(path: Path) -> list[Path]:
    """The files that change when the data set does; none of them is read."""
    return [path / STATE, path / SPLITS, *sorted(path.glob("*.arrow"))]


def _read(kind: type[Model], path: Path) -> Model:
    try:
        return from_json(kind, read_file(path, LINE.longest))
    except (OSError, UnreadableError) as error:
        raise DataError(f"{path}: cannot be read ({why_not(error)}): save the data set again") from error
