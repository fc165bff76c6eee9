"""What left: by the log, or where that does not reach by history and ledger; a server's words lead nowhere."""

from __future__ import annotations

import pytest

from sealora_client.dashboard import sent_facts
from sealora_client.dashboard.runs import RunNames
from sealora_client.dashboard.sent_facts import read_sent
from sealora_client.dashboard.views import health_of, left_text, when
from sealora_client.operator.sent_log import SentLog, SentMessage
from sealora_common.records.names import HISTORY
from sealora_common.records.site_rounds import SiteRound
from sealora_common.storage.durable import append_line

from budget_site import write_site

RUN, OTHER = "ab" * 16, "cd" * 16


def note(directory, kind="mask", run=RUN, **words) -> None:
    SentLog(directory).note(
        SentMessage(**{"at": "2026-01-01T00:00:00+00:00", "kind": kind, "run": run, "round": 1, "bytes": 10, **words})
    )


def test_a_refusal_is_no_vector_whatever_it_answers(tmp_path):
    note(tmp_path, "train")
    note(tmp_path, "mask", refused=True)
    (run,) = read_sent(tmp_path, RunNames(tmp_path), ()).runs
    assert (run.vectors, run.rounds[0].vectors, run.rounds[0].other_bytes) == (0, 0, 20)
    assert [kind.what for kind in run.kinds] == [sent_facts.KINDS["train"], "refusal: one sentence"]


def test_a_run_that_is_older_than_the_log_is_told_by_its_history(tmp_path):
    append_line(tmp_path / HISTORY, SiteRound(round=1, kind="train", run=RUN, vector_bytes=7, bytes_up=9).to_line())
    append_line(tmp_path / HISTORY, SiteRound(round=2, kind="train", run=RUN, vector_bytes=7, bytes_up=9).to_line())
    note(tmp_path, round=2)
    (run,) = read_sent(tmp_path, RunNames(tmp_path), ()).runs
    assert (run.is_logged, run.vectors, run.bytes) == (False, 2, 18)


def test_runs_are_told_up_to_a_bound_and_the_others_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(sent_facts, "MOST_RUNS", 1)
    note(tmp_path)
    note(tmp_path, run=OTHER, at="2026-01-02T00:00:00+00:00")
    note(tmp_path, "hello", run=None, round=None)
    found = read_sent(tmp_path, RunNames(tmp_path), ())
    assert [run.run for run in found.runs] == [OTHER, None]
    assert found.more_runs == 1


@pytest.mark.parametrize("run", ["..", "", "x/../..", "\x00", "AB" * 16])
def test_what_is_no_run_s_id_leads_to_no_recipe(tmp_path, run):
    site = write_site(tmp_path / "site")
    (site / "runs").mkdir()
    assert RunNames(site).recipe(run) is None


def test_what_is_left_is_never_told_as_more():
    assert [left_text(epsilon) for epsilon in (0.999, 1.0, 0.29, 7.0 - 6.71)] == ["0.99", "1.00", "0.29", "0.29"]


def test_a_moment_that_is_none_is_said_to_be_unknown():
    for text in ("", "<b>", "9999999999", "0001-01-01T00:00:00+23:59"):
        assert "unknown time" in when(text) or "<time" in when(text)
    assert when("<b>") == "at an unknown time"
    assert health_of(None).state == "bad"
