from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealora_common.errors import StorageError
from sealora_common.storage.durable import (
    append_line,
    append_whole_lines,
    create_once,
    open_to_append,
    rename_durably,
    write_atomically,
)
from sealora_common.storage.lock import locked
from sealora_common.storage.own_files import PUBLIC_DIRECTORY, PUBLIC_FILE, make_directory, open_own


def lock_once(path: Path) -> None:
    with locked(path):
        pass


WRITERS = {
    "write_atomically": lambda path: write_atomically(path, b"x"),
    "append_line": lambda path: append_line(path, "x"),
    "append_whole_lines": lambda path: append_whole_lines(path, lambda _: [b"x"]),
    "create_once": create_once,
    "open_to_append": lambda path: open_to_append(path).close(),
}
IN_PLACE = {**WRITERS, "locked": lock_once}
"""Those, and what makes no directory."""


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=lambda mask: f"umask {mask:03o}")
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def private(tmp_path):
    place = tmp_path / "private"
    make_directory(place)
    return place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_written_is_private_whatever_the_umask(private, umask, writer):
    file = private / "a" / "b" / "file"
    WRITERS[writer](file)
    assert [mode(place) for place in (private / "a", private / "a" / "b", file)] == [0o700, 0o700, 0o600]


def test_what_must_be_public_has_exactly_the_mode_that_was_asked_for(private, umask):
    write_atomically(private / "card", b"x", mode=PUBLIC_FILE)
    make_directory(private / "model", mode=PUBLIC_DIRECTORY)
    assert [mode(private / "card"), mode(private / "model")] == [0o644, 0o755]


@pytest.mark.parametrize("writer", ["append_line", "append_whole_lines", "locked", "open_to_append"])
def test_a_file_that_an_earlier_version_left_readable_is_closed_to_others(private, writer):
    file = private / "history.jsonl"
    file.write_text("")
    file.chmod(0o644)
    IN_PLACE[writer](file)
    assert mode(file) == 0o600


def test_a_directory_that_others_can_read_is_closed_to_them(private):
    (private / "site").mkdir(mode=0o755)
    make_directory(private / "site")
    assert mode(private / "site") == 0o700


def test_the_directory_that_a_person_works_in_keeps_its_mode(private):
    (private / "work").mkdir(mode=0o755)
    write_atomically(private / "work" / "roster.json", b"x")
    assert mode(private / "work") == 0o755


@pytest.mark.parametrize("writer", ["append_line", "append_whole_lines", "create_once", "locked", "open_to_append"])
def test_nothing_is_written_through_a_symbolic_link(private, tmp_path, writer):
    target = tmp_path / "target"
    target.write_text("as it was")
    (private / "file").symlink_to(target)
    with pytest.raises(StorageError, match="symbolic link"):
        IN_PLACE[writer](private / "file")
    assert target.read_text() == "as it was"


def test_a_symbolic_link_is_replaced_and_not_followed(private, tmp_path):
    target = tmp_path / "target"
    target.write_text("as it was")
    (private / "file").symlink_to(target)
    write_atomically(private / "file", b"new")
    assert not (private / "file").is_symlink()
    assert target.read_text() == "as it was"


def test_no_file_is_taken_for_one(private):
    os.mkfifo(private / "fifo")
    with pytest.raises(StorageError, match="is no file"):
        append_whole_lines(private / "fifo", lambda _: [b"x"])


def of_another_account(place: Path, monkeypatch) -> None:
    if os.geteuid() == 0:
        os.chown(place, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)


HOSTILE = {
    "a symbolic link": (lambda place, _: (place.rename(place.with_name("real")), place.symlink_to("real")), "symbolic"),
    "another account's": (of_another_account, "another account"),
    "writable by all": (lambda place, _: place.chmod(0o707), "can write there"),
    "writable by a group": (lambda place, _: (os.chown(place, -1, _a_group()), place.chmod(0o770)), "can write there"),
}


def _a_group() -> int:
    """A group that is not this account's own."""
    others = [group for group in os.getgroups() if group != os.geteuid()]
    if os.geteuid() == 0:
        return 12345
    if not others:
        pytest.skip("this account is in no other group")
    return others[0]


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("writer", [*IN_PLACE, "rename_durably"])
def test_nothing_is_written_where_another_account_could_replace_it(private, tmp_path, monkeypatch, case, writer):
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    spoil, said = HOSTILE[case]
    spoil(place, monkeypatch)
    write = IN_PLACE.get(writer, lambda path: rename_durably(source, path))
    source = tmp_path / "source"
    source.write_text("")
    with pytest.raises(StorageError, match=said):
        write(place / "file")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("case", HOSTILE)
def test_such_a_directory_is_not_taken_over_either(tmp_path, monkeypatch, case):
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    spoil, said = HOSTILE[case]
    spoil(place, monkeypatch)
    before = place.lstat()
    with pytest.raises(StorageError, match=said):
        make_directory(place)
    assert (place.lstat().st_mode, place.lstat().st_uid) == (before.st_mode, before.st_uid)


def test_a_sticky_directory_of_root_will_do(private, monkeypatch):
    (private / "tmp").mkdir()
    (private / "tmp").chmod(0o1777)
    write_atomically(private / "tmp" / "export", b"x")
    assert mode(private / "tmp" / "export") == 0o600


def test_another_account_s_file_is_not_added_to(private, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    (private / "file").write_text("theirs")
    os.chown(private / "file", 12345, 12345)
    with pytest.raises(StorageError, match="another account"):
        append_line(private / "file", "x")
    assert (private / "file").read_text() == "theirs"


@given(
    bits=st.integers(0, 0o7777),
    wanted=st.sampled_from([0o600, 0o640, 0o644]),
    mask=st.sampled_from([0o000, 0o002, 0o022, 0o077, 0o777]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_there_and_whatever_the_umask_a_file_ends_with_its_mode_or_is_refused(private, bits, wanted, mask):
    place = private / "any"
    place.mkdir(exist_ok=True)
    place.chmod(bits | 0o700)
    before = os.umask(mask)
    try:
        os.close(open_own(place / "file", os.O_WRONLY, mode=wanted))
    except StorageError:
        assert bits & 0o022
        assert not bits & stat.S_ISVTX
        return
    finally:
        os.umask(before)
        place.chmod(0o700)
    assert mode(place / "file") == wanted
    assert bits & stat.S_ISVTX or not bits & 0o002
