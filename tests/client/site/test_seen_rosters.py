from __future__ import annotations

import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealora_client.site.seen_rosters import SEEN, check_roster, read_seen, remember_roster
from sealora_common.entropy import SeededEntropy
from sealora_common.errors import PolicyError, StorageError
from sealora_common.identity import Identity
from sealora_common.roster import Roster, SeenRosters

COORDINATOR = Identity.create("coordinator", SeededEntropy("coordinator"))
KEYS = {name: Identity.create(name, SeededEntropy(name)).public_key for name in ("a", "b", "c")}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def after(roster: Roster, **changes) -> Roster:
    return roster.draft().model_copy(update=changes).signed(COORDINATOR, at=NOW)


ONE = Roster.create("test", KEYS, COORDINATOR, at=NOW)
TWO, OTHER_TWO = after(ONE), after(ONE, consortium="other")
THREE, OTHER_THREE = after(TWO), after(OTHER_TWO)


def use(directory: Path, *rosters: Roster) -> None:
    for roster in rosters:
        check_roster(directory, roster, NOW)
        remember_roster(directory, roster)


def test_a_site_that_has_used_none_takes_any(tmp_path):
    for number, roster in enumerate((ONE, TWO, OTHER_THREE)):
        (tmp_path / str(number)).mkdir()
        use(tmp_path / str(number), roster)
        assert read_seen(tmp_path / str(number)).used == {ONE.coordinator_pin: roster.sequence}


@pytest.mark.parametrize(
    ("used", "roster", "said"),
    [
        ((ONE, TWO), ONE, "number 1, and number 2 has been used here: it is out of date"),
        ((ONE, TWO), OTHER_TWO, "two faces: this roster is number 2"),
        ((ONE, TWO), OTHER_THREE, "follows a number 2 .* that is not the one used here"),
    ],
)
def test_what_contradicts_is_refused_when_it_is_looked_at_and_when_it_is_to_be_noted(tmp_path, used, roster, said):
    use(tmp_path, *used)
    before = (tmp_path / SEEN).read_bytes()
    with pytest.raises(PolicyError, match=f"roster.json: .*{said}"):
        check_roster(tmp_path, roster, NOW)
    with pytest.raises(PolicyError, match=f"roster.json: .*{said}"):
        remember_roster(tmp_path, roster)
    assert (tmp_path / SEEN).read_bytes() == before


@pytest.mark.parametrize(("days", "expired"), [(364, False), (365, True)])
def test_a_roster_past_its_term_is_refused(tmp_path, days, expired):
    at = NOW + timedelta(days=days)
    if expired:
        with pytest.raises(PolicyError, match=r"roster.json: the roster expired 2027-06-01T00:00:00Z: have the"):
            check_roster(tmp_path, ONE, at)
    else:
        check_roster(tmp_path, ONE, at)


def test_to_look_at_a_roster_writes_nothing(tmp_path):
    check_roster(tmp_path, ONE, NOW)
    assert list(tmp_path.iterdir()) == []


def test_what_was_used_is_its_owner_s_alone_and_not_written_again_for_nothing(tmp_path):
    use(tmp_path, ONE)
    file = tmp_path / SEEN
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.stat().st_ino
    use(tmp_path, ONE)
    assert file.stat().st_ino == before


PIN = ONE.coordinator_pin
WITHOUT_HASH = [json.dumps({"used": {PIN: 2}, "hashes": hashes}).encode() for hashes in ({}, {PIN: {"1": "1" * 64}})]
WITHOUT_NUMBER = json.dumps({"used": {}, "hashes": {PIN: {"1": "1" * 64}}}).encode()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"version": 2}', b'{"used": {"x": 1}}', b"\xff", *WITHOUT_HASH, WITHOUT_NUMBER],
)
def test_a_damaged_note_is_no_leave_to_forget(tmp_path, content):
    (tmp_path / SEEN).write_bytes(content)
    for ask in (lambda: check_roster(tmp_path, ONE, NOW), lambda: remember_roster(tmp_path, ONE)):
        with pytest.raises(StorageError, match=r"cannot be read, so nothing tells which rosters this site has used"):
            ask()
    assert (tmp_path / SEEN).read_bytes() == content


def test_a_directory_that_cannot_be_written_ends_in_a_sentence(tmp_path):
    with pytest.raises(StorageError, match="cannot write"):
        remember_roster(tmp_path / "none", ONE)


def _try(directory: Path, roster: Roster, start, said) -> None:
    start.wait()
    try:
        remember_roster(directory, roster)
    except PolicyError:
        said.put("refused")
    else:
        said.put("taken")


def test_of_two_faces_shown_to_two_processes_at_once_one_is_taken(tmp_path):
    context = multiprocessing.get_context("fork")
    for number in range(5):
        directory = tmp_path / str(number)
        directory.mkdir()
        start, said = context.Event(), context.Queue()
        tries = [context.Process(target=_try, args=(directory, face, start, said)) for face in (TWO, OTHER_TWO)]
        for each in tries:
            each.start()
        start.set()
        assert sorted(said.get(timeout=30) for _ in tries) == ["refused", "taken"]
        for each in tries:
            each.join()
        seen = read_seen(directory)
        assert seen in [SeenRosters().after(face) for face in (TWO, OTHER_TWO)]
