"""The files of a history: one a run, and what becomes of those that are damaged or torn."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora_client.round.history import History, receipts_file
from sealora_common.errors import PolicyError
from sealora_common.receipts.receipt import chain_to_bytes

from quorum import RUN, transcript_of
from told_history import CHAIN, HOME, NAMES, take_part, tell


def test_runs_do_not_mix(tmp_path):
    tell(History(tmp_path, RUN), CHAIN[:2])
    other = History(tmp_path, "cd" * 16)
    tell(other, [], HOME.order([], run="cd" * 16))
    with pytest.raises(PolicyError, match="round 1 is refused: it is of another run"):
        tell(other, CHAIN[:2])


@pytest.mark.parametrize("file", [f"{RUN}.jsonl", f"{RUN}.confirmed.jsonl"])
@pytest.mark.parametrize("content", [b"[{}]\n", b"\xff\n", b"\n"])
def test_a_damaged_file_stops_the_site_and_is_named(tmp_path, history, file, content):
    chain = take_part(history, CHAIN[:1])
    path = tmp_path / "receipts" / file
    path.write_bytes(content)
    with pytest.raises(PolicyError) as caught:
        tell(history, chain)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.integers(1, 2000))
def test_a_last_line_that_a_kill_tore_is_written_anew(tmp_path_factory, left):
    directory = tmp_path_factory.mktemp("site")
    history = History(directory, RUN)
    tell(history, CHAIN[:2])
    path = directory / "receipts" / f"{RUN}.jsonl"
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    path.write_bytes(whole[: start + min(left, len(whole) - start - 1)])
    assert history.receipts == CHAIN[:1]
    assert history.count == 1
    tell(history, CHAIN[:3], since=1)
    assert path.read_bytes() == chain_to_bytes(CHAIN[:3])


def test_a_confirmation_that_a_kill_tore_did_not_leave(history, tmp_path):
    chain = take_part(history, [])
    path = tmp_path / "receipts" / f"{RUN}.confirmed.jsonl"
    path.write_bytes(path.read_bytes() + b'{"attempt":1,"order_di')
    tell(history, chain)
    history.confirm(HOME.order(chain), transcript_of(HOME.order(chain)), NAMES)
    assert [json.loads(line)["round_number"] for line in path.read_text().splitlines()] == [1, 2]


def test_the_newest_chain_of_a_directory_is_found(tmp_path):
    with pytest.raises(PolicyError, match="no receipts here yet"):
        receipts_file(tmp_path)
    tell(History(tmp_path, "cd" * 16), [], HOME.order([], run="cd" * 16))
    chain = take_part(History(tmp_path, RUN), CHAIN[:3])
    tell(History(tmp_path, RUN), chain)
    path = tmp_path / "receipts" / f"{RUN}.jsonl"
    assert receipts_file(tmp_path) == receipts_file(path) == path
