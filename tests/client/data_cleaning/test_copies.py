from __future__ import annotations

import json
import stat

import pytest

from sealora_client.data_cleaning.copies import Doings, changes_of, require_new, write_copy
from sealora_common.errors import StorageError


def done() -> Doings:
    doings = Doings(read=3, written=1)
    doings.note("left out: exact copy", 2)
    doings.note("replaced: URL", 3, 4)
    doings.note("left out: exact copy", 3)
    return doings


def test_a_copy_and_its_list_are_written_for_this_account_alone(tmp_path):
    copy = tmp_path / "new" / "copy.jsonl"
    write_copy(copy, [{"prompt": "ü", "n": 1.5, "none": None}], tmp_path / "data.csv", done())
    assert copy.read_text() == '{"prompt": "ü", "n": 1.5, "none": null}\n'
    assert json.loads(changes_of(copy).read_text()) == {
        "data": str(tmp_path / "data.csv"),
        "copy": str(copy),
        "read": 3,
        "written": 1,
        "steps": [
            {"step": "left out: exact copy", "records": 2, "places": 2, "lines": [2, 3]},
            {"step": "replaced: URL", "records": 1, "places": 4, "lines": [3]},
        ],
    }
    for path in (copy, changes_of(copy)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_overwritten(tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text("precious")
    (tmp_path / "link.jsonl").symlink_to(data)
    (tmp_path / "hard.jsonl").hardlink_to(data)
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "nowhere")
    changes_of(tmp_path / "listed.jsonl").write_text("a list")
    for name in ("data", "link", "hard", "dangling", "listed"):
        with pytest.raises(
            StorageError, match=r"is there already, and nothing is overwritten: name another file with --o"
        ):
            write_copy(tmp_path / f"{name}.jsonl", [{}], data, done())
    assert data.read_text() == "precious"
    assert changes_of(tmp_path / "listed.jsonl").read_text() == "a list"


def test_a_copy_has_the_name_of_json_lines(tmp_path):
    with pytest.raises(StorageError, match=r"copy\.csv: a copy is JSON Lines: name it with \.jsonl at its end"):
        require_new(tmp_path / "copy.csv")


def test_half_of_a_surrogate_pair_in_a_field_that_is_not_read_survives(tmp_path):
    write_copy(tmp_path / "c.jsonl", [{"prompt": "ü", "other": "\ud800"}], tmp_path / "d", Doings())
    assert json.loads((tmp_path / "c.jsonl").read_text()) == {"prompt": "ü", "other": "\ud800"}
