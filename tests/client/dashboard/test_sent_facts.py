"""What left is never told smaller than it is: whatever a server names, a disk did not take, or a file hides."""

from __future__ import annotations

import hashlib

import pytest

from sealora_client.dashboard.facts import read_facts
from sealora_client.dashboard.priced import price_of
from sealora_client.dashboard.sent_facts import MOST_RUNS
from sealora_client.operator.sent_log import SENT_BEFORE, SENT_LOG, SentLog, SentMessage
from sealora_common.errors import StorageError
from sealora_common.records.names import HISTORY

from budget_site import spend, write_site

RUN = "ab" * 16


def sent(site):
    return read_facts(site).sent


def message(kind: str, run: str = RUN, number: int | None = 1, day: int = 1) -> SentMessage:
    return SentMessage(at=f"2026-01-{day:02d}T08:00:00+00:00", kind=kind, run=run, round=number, bytes=100)


@pytest.fixture
def site(tmp_path):
    """One whose sealed update of round 1 has left, of a round that never ended: history has no line of it."""
    site = write_site(tmp_path / "site")
    spend(site, 1)
    log = SentLog(site)
    for kind in ("train", "share", "mask"):
        log.note(message(kind))
    return site


def invented(count: int):
    return [hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(count)]


def test_runs_that_a_server_invents_hide_none_of_which_a_vector_left(site):
    log = SentLog(site)
    for run in invented(MOST_RUNS + 10):
        log.note(message("hello", run, None, day=28))
    found = sent(site)
    assert (found.vectors, found.more_runs, found.more_vectors) == (1, 11, 0)
    assert RUN in [run.run for run in found.runs]
    assert found.bytes == 100 * (3 + MOST_RUNS + 10)


def test_runs_that_are_not_told_of_are_counted(site):
    log = SentLog(site)
    for run in invented(MOST_RUNS + 10):
        log.note(message("mask", run, day=28))
    found = sent(site)
    assert (len(found.runs), found.vectors, found.more_vectors) == (MOST_RUNS, MOST_RUNS + 11, 11)


def test_a_log_that_a_server_had_begin_anew_hides_no_vector(site):
    (site / SENT_LOG).rename(site / SENT_BEFORE)
    (site / SENT_BEFORE).write_bytes(b"")
    SentLog(site).note(message("held", number=None, day=28))
    found = sent(site)
    assert not found.is_whole
    (run,) = found.runs
    (kind,) = [kind for kind in run.kinds if kind.of_records]
    (line,) = run.rounds
    assert (found.vectors, kind.messages, kind.bytes) == (1, 1, None)
    assert (line.round, line.vectors, line.vector_bytes) == (1, 1, None)
    assert line.at is not None


def test_nor_does_it_where_nothing_is_charged(site):
    """Without privacy there is no ledger, and the outbox's mark alone tells."""
    (site / "ledger.sqlite").unlink()
    (site / SENT_LOG).write_bytes(b"")
    SentLog(site).note(message("held", number=None, day=28))
    (site / "outbox").mkdir()
    (site / "outbox" / f"{RUN}.train-1.sent").touch()
    (site / "outbox" / f"{RUN}.evaluate-2.sent").touch()
    found = sent(site)
    assert found.vectors == 2
    assert [(line.round, line.is_evaluation) for line in found.runs[0].rounds] == [(1, False), (2, True)]


def test_a_vector_that_left_again_is_counted_again_beside_rounds_of_before_the_log(site):
    from sealora_common.records.site_rounds import SiteRound
    from sealora_common.storage.durable import append_line

    append_line(site / HISTORY, SiteRound(round=7, kind="train", run=RUN, vector_bytes=100, bytes_up=300).to_line())
    SentLog(site).note(message("mask"))
    found = sent(site)
    assert not found.runs[0].is_logged
    assert found.vectors == 3


@pytest.mark.parametrize("name", [SENT_LOG, SENT_BEFORE, HISTORY])
def test_a_file_that_cannot_be_read_is_not_taken_for_nothing(site, name):
    (site / name).unlink(missing_ok=True)
    (site / name).mkdir()
    facts = read_facts(site)
    assert not facts.sent.is_known
    assert any(f"{name}: cannot be read" in problem for problem in facts.problems)


def test_a_damaged_line_is_told(site):
    with (site / SENT_LOG).open("a") as file:
        file.write("nothing\n")
    assert not sent(site).is_whole


def test_a_ledger_that_is_lost_is_not_taken_for_nothing_spent(site):
    (site / "ledger.sqlite").unlink()
    facts = read_facts(site)
    assert facts.budget is None
    assert any("the privacy ledger is missing" in problem for problem in facts.problems)
    with pytest.raises(StorageError, match="the privacy ledger is missing"):
        price_of(site, (site / "recipe.yaml").read_text())
