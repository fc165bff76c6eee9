"""The rows that a database gives for one SELECT, by SQLAlchemy: read only, in a stream, and rolled back.

A query that is no plain SELECT is refused by its words. That is a guard against mistakes; what keeps a database from
being written is the read-only transaction that it is read in, where it has such, and an account that may only read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from sealora_client.data.formats.arrow_values import fields_of
from sealora_client.data.formats.format import Row
from sealora_client.data.source.description import DescribedQuery
from sealora_common.config import SMALL, read_file, why_not
from sealora_common.errors import DataError, UnreadableError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

_AT_A_TIME = 256
_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET TRANSACTION READ ONLY",
    "mariadb": "SET TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
}
"""What makes a transaction read only, said before it; PostgreSQL's is an option of its driver, SQL Server has none."""
_NOT_SQL = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)
_SELECT = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)
_WRITES = re.compile(
    r"\b(?:ALTER|CALL|CREATE|DELETE|DROP|EXEC|EXECUTE|GRANT|INSERT|INTO|MERGE|REPLACE\s+INTO|TRUNCATE|UPDATE)\b",
    re.IGNORECASE,
)


def query_rows(description: Path, asked: DescribedQuery) -> Iterator[Row]:
    """The query's rows, in whatever order they come; `line` counts them from 1.

    Args:
        description: the file that names the query, for sentences, and whose directory relative paths start at.
        asked: database and query.

    Raises:
        DataError: the query is refused, by us or by the database, or the database cannot be reached. No password is
            in the sentence.
    """
    place = f"{description}: sql"
    _require_select(place, asked.query)
    with _connected(description, asked) as connection:
        from sqlalchemy import text

        # Whoever writes a colon means one: nothing is filled in.
        result = connection.execute(text(asked.query.replace(":", "\\:")))
        names = list(result.keys())
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f'{place}: two columns of the query are called "{twice}": name one of them AS something else'
            )
        for number, values in enumerate(result, 1):
            fields, unfit = fields_of(zip(names, values, strict=True))
            yield Row(f"{place}, row {number}", number, fields, unfit)


def _require_select(place: str, query: str) -> None:
    bare = _NOT_SQL.sub(" ", query).strip().removesuffix(";")
    if not _SELECT.match(bare) or ";" in bare:
        raise DataError(f"{place}: the query is not one SELECT: write one, which only reads")
    word = _WRITES.search(bare)
    if word is not None:
        raise DataError(
            f"{place}: the query has the word {word[0].upper()}, which writes: write a SELECT that only reads, or "
            "quote the word if it names a column"
        )


@contextmanager
def _connected(description: Path, asked: DescribedQuery) -> Iterator[Connection]:
    place = f"{description}: sql"
    try:
        import sqlalchemy
        from sqlalchemy.pool import NullPool
    except ImportError:
        raise DataError(f'{place}: it takes SQLAlchemy, which is not installed: pip install "sealora[sql]"') from None
    url = _url(description, asked)
    try:
        engine = sqlalchemy.create_engine(url, poolclass=NullPool, hide_parameters=True)
        with engine.connect() as connection:
            if url.get_backend_name() == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            elif url.get_backend_name() in _READ_ONLY:
                connection.exec_driver_sql(_READ_ONLY[url.get_backend_name()])
            connection.execution_options(stream_results=True, yield_per=_AT_A_TIME)
            try:
                yield connection
            finally:
                connection.rollback()
    except ImportError as error:
        raise DataError(
            f"{place}: the driver of {url.drivername} is not installed ({error.name}): install it"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, OSError, ValueError) as error:
        raise DataError(
            f"{place}: the database cannot be read ({_said(error, url)}): check url and query, and that it can be "
            "reached from here"
        ) from None


def _url(description: Path, asked: DescribedQuery) -> URL:
    """Of the database, with its password.

    Raises:
        DataError: it is not there, or is none.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    place = f"{description}: sql"
    written = asked.url if asked.url_env is None else _from_environment(place, "url_env", asked.url_env)
    try:
        url = make_url(written or "")
    except (ArgumentError, ValueError):
        raise DataError(
            f"{place}: the URL of the database is none: write it like postgresql+psycopg://user@host/database"
        ) from None
    if asked.url is not None and url.password is not None:
        raise DataError(f"{place}.url: it has a password, which belongs in password_env or password_file: take it out")
    if asked.password_env is not None:
        url = url.set(password=_from_environment(place, "password_env", asked.password_env))
    if asked.password_file is not None:
        url = url.set(password=_from_file(place, description.parent / asked.password_file))
    return _existing_file(description, url) if url.get_backend_name() == "sqlite" else url


def _existing_file(description: Path, url: URL) -> URL:
    """SQLite's URL of a file that is there, to be read only: else it would be made, empty."""
    path = description.parent / (url.database or "")
    if not path.is_file():
        raise DataError(f"{description}: sql: the database {path} is no file: correct the path, which starts there")
    return url.set(database=f"file:{quote(str(path.absolute()))}", query={"mode": "ro", "uri": "true"})


def _from_environment(place: str, key: str, name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise DataError(f"{place}.{key}: the environment variable {name} is not set: set it for this program")
    return value


def _from_file(place: str, path: Path) -> str:
    try:
        return read_file(path, SMALL.longest).decode().strip()
    except (OSError, UnreadableError) as error:
        raise DataError(f"{place}.password_file: {path} cannot be read ({why_not(error)}): correct it") from None
    except UnicodeDecodeError:
        raise DataError(f"{place}.password_file: {path} is not UTF-8 text: save it in UTF-8") from None


def _said(error: Exception, url: URL) -> str:
    """The first line of what the driver says, without the password, however it is written."""
    said = str(getattr(error, "orig", None) or type(error).__name__).strip().split("\n")[0]
    password = str(url.password or "")
    for secret in {password, quote(password, safe=""), quote_plus(password)} - {""}:
        said = said.replace(secret, "***")
    return said
