"""Who has a token file."""

from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from sealora_common.errors import PolicyError
from sealora_common.web.sessions import Role, Sessions
from sealora_common.web.token_file import token_of
from sealora_server.cli import cli
from sealora_server.dashboard.login import persons as module
from sealora_server.dashboard.login.persons import PersonTokens


@pytest.fixture
def persons(tmp_path):
    persons = PersonTokens(tmp_path / "people")
    persons.add(Role.OPERATOR, "anna")
    persons.add(Role.OPERATOR, "bert@example.org")
    persons.add(Role.READER, "cara")
    return persons


def token(persons, role, name):
    return token_of(persons.path(role, name))


def test_a_token_says_who_somebody_is_and_what_they_may(persons):
    for role, name in ((Role.OPERATOR, "anna"), (Role.OPERATOR, "bert@example.org"), (Role.READER, "cara")):
        found = persons.holder(token(persons, role, name))
        assert (found.role, found.who) == (role, name)
        assert persons.path(role, name).stat().st_mode & 0o777 == 0o600
    for said in ("", "x", token(persons, Role.READER, "cara") + "x", "\udcff", "ä"):
        assert persons.holder(said) is None


def test_where_there_is_nobody_nobody_logs_in(tmp_path):
    assert PersonTokens(tmp_path / "none").holder("") is None


def test_a_token_that_is_made_again_stays_what_it_was(persons):
    before = token(persons, Role.OPERATOR, "anna")
    persons.add(Role.OPERATOR, "anna")
    assert token(persons, Role.OPERATOR, "anna") == before


def test_a_reader_whose_file_is_copied_among_the_operators_is_neither(persons, caplog):
    said = token(persons, Role.READER, "cara")
    shutil.copy2(persons.path(Role.READER, "cara"), persons.path(Role.OPERATOR, "cara"))
    assert persons.holder(said) is None
    assert "nobody logs in by a token that lies in several files" in caplog.text
    assert said not in caplog.text


def test_a_file_that_others_can_read_lets_nobody_in_and_keeps_nobody_out(persons, caplog):
    said = token(persons, Role.OPERATOR, "anna")
    persons.path(Role.OPERATOR, "anna").chmod(0o644)
    assert persons.holder(said) is None
    assert "anna.token: other accounts can read the token" in caplog.text
    assert persons.holder(token(persons, Role.READER, "cara")).who == "cara"


@pytest.mark.parametrize("name", ["account:root", "Account:root", "a b", "ä", "", ".hidden", "x" * 256, "a/../b"])
def test_what_is_no_name_gets_no_token(persons, name):
    with pytest.raises(PolicyError):
        persons.add(Role.OPERATOR, name)


def test_a_file_that_is_named_otherwise_lets_nobody_in(persons, caplog):
    path = persons.path(Role.OPERATOR, "anna")
    said = token_of(path)
    path.rename(path.with_name("account:root.token"))
    assert persons.holder(said) is None
    assert "is not named like a person" in caplog.text
    (path.parent / "account:root.token").rename(path.with_name("anna.token.old"))
    assert persons.holder(said) is None


def test_so_many_files_are_read_and_no_more(persons, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 1)
    assert persons.holder(token(persons, Role.OPERATOR, "anna")).who == "anna"
    assert persons.holder(token(persons, Role.OPERATOR, "bert@example.org")) is None


@pytest.mark.parametrize("how", ["taken away", "replaced"])
def test_who_has_their_token_taken_away_is_logged_out_at_once(persons, how):
    sessions = Sessions()
    found = persons.holder(token(persons, Role.OPERATOR, "anna"))
    name, session = sessions.begin(found.role, found.who, is_current=found.is_current)
    assert sessions.of(name) is session
    assert sessions.is_open(session)
    persons.path(Role.OPERATOR, "anna").unlink()
    if how == "replaced":
        persons.add(Role.OPERATOR, "anna")
    assert not sessions.is_open(session)
    assert sessions.of(name) is None


def test_tokens_are_made_and_taken_away_at_the_command_line(tmp_path):
    config = tmp_path / "server.yaml"
    config.write_text("hosts: [localhost]\n")

    def typed(*words):
        result = CliRunner().invoke(cli, ["server", "person", *words, "--config", str(config)])
        if result.exception is not None:
            raise result.exception
        return result.output.replace("\n", " ")

    path = tmp_path / "people" / "operators" / "anna.token"
    assert "what anna logs in with as operator" in typed("anna")
    token = token_of(path)
    assert token not in typed("anna")
    assert token_of(path) == token
    assert "as reader" in typed("cara", "--reader")
    assert "anna is no operator any more" in typed("anna", "--remove")
    assert not path.exists()
    with pytest.raises(PolicyError, match="anna has no token to be taken away"):
        typed("anna", "--remove")
    with pytest.raises(PolicyError, match="cannot be used"):
        typed("account:root")
