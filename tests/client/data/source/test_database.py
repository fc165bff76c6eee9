"""A database: read, never written, and its password said nowhere. PostgreSQL's and others' are not here to be asked."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing

import pytest
import yaml

from sealora_client.data.record import Record
from sealora_client.data.records import read_records
from sealora_client.data.source.database import _require_select, query_rows
from sealora_client.data.source.description import DescribedQuery, read_description
from sealora_common.errors import DataError
from sealora_common.recipe.sections.data import DataSection

from data_writers import GOOD, database


def rows(path):
    asked = read_description(path).sql
    assert asked is not None
    return list(query_rows(path, asked))


def ask(directory, **asked):
    path = directory / "data.yaml"
    path.write_text(yaml.safe_dump({"sql": {"query": "SELECT * FROM notes"} | asked}))
    return path


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "data.yaml"
    database("SELECT prompt, response, split FROM notes")(path)
    return path


def test_records_come_from_a_query(notes):
    split = read_records(notes, DataSection())
    assert (split.train, split.heldout) == ([Record("p", "r")], [Record("q", "r")])
    assert split.places.of(2) == f"{notes}: sql, row 2"


def test_a_query_is_taken_word_for_word(notes, tmp_path):
    query = "-- colons: :x\nSELECT ':y; 50%' AS \"update\", prompt AS p FROM notes WHERE prompt <> ':z' ORDER BY p;"
    assert rows(ask(tmp_path, url="sqlite:///own.db", query=query))[0].fields == {"update": ":y; 50%", "p": "p"}


def test_many_rows_are_streamed(tmp_path):
    path = tmp_path / "data.yaml"
    database("SELECT * FROM notes", [(f"p{number}", "r", "train") for number in range(3000)])(path)
    asked = read_description(path).sql
    assert asked is not None
    stream = query_rows(path, asked)
    assert next(stream).fields["prompt"] == "p0"
    assert sum(1 for _ in stream) == 2999


def test_the_database_is_only_read(notes, tmp_path, monkeypatch):
    """Even if a query that writes came through."""
    monkeypatch.setattr("sealora_client.data.source.database._require_select", lambda place, query: None)
    for query in ("DELETE FROM notes", "INSERT INTO notes VALUES (1, 2, 3) RETURNING prompt"):
        with pytest.raises(DataError, match="readonly database"):
            rows(ask(tmp_path, url="sqlite:///own.db", query=query))
    with closing(sqlite3.connect(tmp_path / "own.db")) as opened:
        assert opened.execute("SELECT count(*) FROM notes").fetchone() == (len(GOOD),)


@pytest.mark.parametrize(
    "query",
    ["SELECT 1", " select 1 ;", "WITH x AS (SELECT 1) SELECT * FROM x", "/* a; */ SELECT 'DROP; TABLE' -- delete"],
)
def test_a_select_is_taken(query):
    _require_select("d", query)


@pytest.mark.parametrize(
    "query",
    [
        "", "UPDATE a SET b = 1", "SELECT 1; DROP TABLE a", "SELECT * INTO b FROM a", "SELECT * FROM a FOR UPDATE",
        "WITH x AS (INSERT INTO a VALUES (1) RETURNING *) SELECT 1", "EXPLAIN SELECT 1", "PRAGMA query_only = OFF",
        "SELECT 1 -- harmless\n; DELETE FROM a",
    ],
)  # fmt: skip
def test_whatever_else_is_refused(query):
    with pytest.raises(DataError, match=r"^d: the query "):
        _require_select("d", query)


def test_the_url_may_lie_in_the_environment(notes, tmp_path, monkeypatch):
    monkeypatch.setenv("CLINIC_DB", "sqlite:///own.db")
    assert len(rows(ask(tmp_path, url_env="CLINIC_DB"))) == 2


@pytest.mark.parametrize("way", ["password_env", "password_file", "url_env"])
def test_a_password_is_in_no_sentence_and_no_log(tmp_path, monkeypatch, caplog, way):
    """A driver that says everything it was given."""
    secret = "hush/hush é"
    (tmp_path / "secret").write_text(f"{secret}\n")
    monkeypatch.setenv("SECRET", secret)
    monkeypatch.setenv("WHOLE", "postgresql+psycopg://u:hush%2Fhush%20%C3%A9@db.example/clinic")
    asked = {"url": "postgresql+psycopg://u@db.example/clinic"}
    asked = {
        "password_env": asked | {"password_env": "SECRET"},
        "password_file": asked | {"password_file": "secret"},
        "url_env": {"url_env": "WHOLE"},
    }[way]
    given = []

    def refusing(url, **options):
        given.append(url.password)
        raise ValueError(f"cannot connect with {url.password} or {url.render_as_string(hide_password=False)}")

    monkeypatch.setattr("sqlalchemy.create_engine", refusing)
    with caplog.at_level(logging.DEBUG), pytest.raises(DataError) as raised:
        rows(ask(tmp_path, **asked))
    assert given == [secret]
    assert "hush" not in str(raised.value)
    assert raised.value.__suppress_context__
    assert "hush" not in caplog.text


def test_a_password_that_cannot_be_had_is_said(tmp_path):
    url = "postgresql+psycopg://u@db.example/clinic"
    with pytest.raises(DataError, match=r"password_env: the environment variable SEALORA_NONE is not set"):
        rows(ask(tmp_path, url=url, password_env="SEALORA_NONE"))
    with pytest.raises(DataError, match=r"password_file: .*none cannot be read \(No such file or directory\)"):
        rows(ask(tmp_path, url=url, password_file="none"))


def test_what_makes_a_transaction_read_only_is_asked_of_each_database(monkeypatch, tmp_path):
    """Without the databases: what is said to a connection before the query."""
    from sealora_client.data.source import database as module

    class Connection:
        def __init__(self):
            self.said = []

        def execution_options(self, **options):
            self.said.append(options)

        def exec_driver_sql(self, text):
            self.said.append(text)

        def rollback(self):
            self.said.append("rollback")

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    for url, first in (
        ("postgresql+psycopg://u@h/d", {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}),
        ("mysql+pymysql://u@h/d", "SET TRANSACTION READ ONLY"),
        ("oracle+oracledb://u@h/d", "SET TRANSACTION READ ONLY"),
    ):
        connection = Connection()
        engine = type("Engine", (), {"connect": lambda self, own=connection: own})()
        monkeypatch.setattr("sqlalchemy.create_engine", lambda *_, own=engine, **__: own)
        with module._connected(tmp_path / "d.yaml", DescribedQuery(query="SELECT 1", url=url)):
            pass
        assert connection.said == [first, {"stream_results": True, "yield_per": 256}, "rollback"]
