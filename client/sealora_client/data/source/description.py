"""A description (`*.yaml`) of a site's data: which files or query, and how their columns come to the recipe's names."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sealora_common.config import load_yaml
from sealora_common.errors import DataError, UnreadableError

Constant = str | int | float | bool
_PATTERN = frozenset("*?[")


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DescribedFiles(_Described):
    """An entry of `files`."""

    path: str = Field(min_length=1)
    """A file, or a pattern with `*`, `?`, `[...]` or `**`, relative to the description."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What stands between the columns of a table in text; null finds it out."""
    constants: dict[str, Constant] = {}
    """Fields that these files' records have besides, the same for all: `{split: heldout}`."""


class DescribedQuery(_Described):
    """What a database is asked."""

    query: str = Field(min_length=1)
    """One SELECT."""
    url: str | None = None
    """SQLAlchemy's URL of the database, without a password."""
    url_env: str | None = None
    """Name of the environment variable that holds the URL, which may have a password."""
    password_env: str | None = None
    """Name of the environment variable that holds the password."""
    password_file: Path | None = None
    """A file that holds the password alone, relative to the description."""

    @model_validator(mode="after")
    def _is_one_of_each(self) -> DescribedQuery:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("name the database in url or in url_env, one of the two")
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("name the password in password_env or in password_file, one of the two")
        return self


class Description(_Described):
    """The whole file."""

    files: tuple[DescribedFiles, ...] = ()
    """Paths or patterns, each a text or an entry with `path`; read in this order, those of a pattern by their names."""
    sql: DescribedQuery | None = None
    """A database, beside the files or instead of them."""
    fields: dict[str, str] = {}
    """The recipe's name of a field, and the site's own: `{prompt: question}`."""
    constants: dict[str, Constant] = {}
    """Fields that all records have besides."""
    json_fields: tuple[str, ...] = ()
    """Fields, by the recipe's names, whose texts are JSON: lists of messages in a column of CSV or SQL."""

    @field_validator("files", mode="before")
    @classmethod
    def _texts_are_paths(cls, value: object) -> object:
        if not isinstance(value, list):
            return value
        return [{"path": entry} if isinstance(entry, str) else entry for entry in value]

    @model_validator(mode="after")
    def _names_something(self) -> Description:
        if not self.files and self.sql is None:
            raise ValueError("name files or sql: it describes no data")
        both = sorted(self.constants.keys() & self.fields.keys())
        if both:
            raise ValueError(f"{both[0]} is in fields and in constants: keep one of the two")
        own = list(self.fields.values())
        twice = next((name for name in own if own.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"fields names the column {twice} for two fields: name each once")
        return self


def is_description(path: Path) -> bool:
    """Whether the file's name says so."""
    return path.suffix.lower() in (".yaml", ".yml")


def read_description(path: Path) -> Description:
    """Reads it.

    Raises:
        DataError: it is missing or malformed.
    """
    try:
        return load_yaml(Description, path, "description")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path of this site's records") from None
    except UnreadableError as error:
        raise DataError(str(error)) from None


def files_of_entry(description: Path, entry: DescribedFiles) -> list[Path]:
    """The files that an entry names; of a pattern those that match, by name.

    Raises:
        DataError: none matches, or it names a description.
    """
    directory = description.parent
    plain = directory / entry.path
    if plain.exists() or not _PATTERN & set(entry.path):
        found = [plain]
    else:
        found = [directory / name for name in sorted(glob.glob(entry.path, root_dir=directory, recursive=True))]
    if not found:
        raise DataError(f'{description}: files: nothing matches "{entry.path}": correct the pattern or add the files')
    described = next((path for path in found if is_description(path)), None)
    if described is not None:
        raise DataError(f"{description}: files: {described} is a description itself: name its files here")
    return found
