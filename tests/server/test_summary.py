from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from sealora_common.errors import StorageError
from sealora_common.records.completions import read_completions
from sealora_common.records.event_log import EventLog, read_events
from sealora_common.records.events import RoundFinished, RunStarted, TooFewSites, TurnedAway
from sealora_common.records.fold import fold
from sealora_common.records.run_state import RunState
from sealora_common.show.quantities import bytes_text, duration_text, epsilon_text, sparkline, target_text
from sealora_server.view.histories import HistoryTails, federation_curve, read_histories
from sealora_server.view.summary import summarize, write_summary

from run_fixture import SITES, epsilon_at, history_line, loss_at, write_history_line, write_run


def test_the_summary_of_a_simulation_holds_each_site_s_own_figures(tmp_path: Path) -> None:
    summary = summarize(write_run(tmp_path))

    assert [site.name for site in summary.sites] == list(SITES)
    site = summary.sites[1]
    assert site.heldout_loss_before == loss_at(1, 0)
    assert site.heldout_loss_after == loss_at(1, 4)
    assert site.epsilon == epsilon_at(4, 4)
    assert (site.delta, site.records, site.heldout_records, site.truncated) == (1e-5, 544, 64, 1)
    assert (site.bytes_up, site.bytes_down) == (4 * 1_843_000 + 9_000, 4 * 932_000 + 931_000)


def test_the_federation_s_losses_are_the_means_over_the_sites(tmp_path: Path) -> None:
    summary = summarize(write_run(tmp_path))

    before = fmean(loss_at(index, 0) for index in range(3))
    after = fmean(loss_at(index, 4) for index in range(3))
    assert summary.heldout_loss_before == pytest.approx(before)
    assert summary.heldout_loss_after == pytest.approx(after)
    assert summary.heldout_loss_change == pytest.approx(after / before - 1)
    assert summary.bytes_up == sum(site.bytes_up or 0 for site in summary.sites)


def test_a_site_that_left_early_does_not_look_like_learning(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "sites" / SITES[2] / "history.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))

    summary = summarize(tmp_path)

    assert summary.sites[2].heldout_loss_after is None
    assert summary.heldout_loss_before == pytest.approx(fmean([loss_at(0, 0), loss_at(1, 0)]))
    assert summary.heldout_loss_after == pytest.approx(fmean([loss_at(0, 4), loss_at(1, 4)]))


def test_a_deployed_run_names_its_sites_and_leaves_their_figures_null(tmp_path: Path) -> None:
    summary = summarize(write_run(tmp_path, own_files=False))

    assert [site.name for site in summary.sites] == list(SITES)
    for site in summary.sites:
        assert {value for field, value in site.model_dump().items() if field != "name"} == {None}
    assert summary.heldout_loss_before == pytest.approx(fmean(loss_at(index, 0) for index in range(3)))
    assert summary.bytes_up > 0


def test_the_written_summary_is_json_with_the_promised_keys(tmp_path: Path) -> None:
    write_summary(write_run(tmp_path))

    summary = json.loads((tmp_path / "summary.json").read_text())

    promised = {"rounds", "heldout_loss_before", "heldout_loss_after", "sites", "adapter_sha256", "seconds"}
    assert promised <= set(summary)
    promised = {"name", "epsilon", "delta", "records", "bytes_up", "bytes_down"}
    assert promised <= set(summary["sites"][0])
    assert summary["status"] == "finished"
    assert summary["adapter_sha256"] == "04" * 32


def test_sites_lost_and_rounds_given_up_are_listed(tmp_path: Path) -> None:
    summary = summarize(write_run(tmp_path, with_trouble=True))

    assert [(lost.round, lost.site) for lost in summary.dropped_sites] == [(2, SITES[1])]
    assert [(aborted.round, aborted.attempt) for aborted in summary.aborted_rounds] == [(2, 1)]


def test_the_summary_holds_who_took_no_part_as_it_was_last_told(tmp_path: Path) -> None:
    away = TurnedAway(site="clinic-east", node=7, reason="no budget")
    write_run(tmp_path, stop_after=2, turned_away=(away,), missing=("clinic-west",))
    summary = summarize(tmp_path)
    assert (summary.turned_away, summary.missing_sites) == ((away,), ("clinic-west",))
    assert "clinic-east" not in [site.name for site in summary.sites]

    log = EventLog(tmp_path / "events.jsonl")
    log.write(TooFewSites(sites=SITES[:1], needed=3, missing=("clinic-east", "clinic-west", *SITES[1:])))
    summary = summarize(tmp_path)
    assert (summary.turned_away, len(summary.missing_sites)) == ((), 4)


def test_a_run_that_is_still_going_is_summed_up_as_far_as_it_is(tmp_path: Path) -> None:
    summary = summarize(write_run(tmp_path, stop_after=2))

    assert (summary.status, summary.rounds, summary.rounds_finished) == ("running", 4, 2)
    assert summary.heldout_loss_before is not None
    assert summary.heldout_loss_after is None


def test_the_time_between_interruption_and_resumption_does_not_count(tmp_path: Path) -> None:
    log_path = tmp_path / "events.jsonl"
    times = iter([100.0, 110.0, 5000.0, 5020.0])
    log = EventLog(log_path, clock=lambda: next(times))
    started = RunStarted(name="r", run_id="1", rounds=2, recipe_hash="", epsilon=8, delta=1e-5, mechanism="local")
    for number in (1, 2):
        log.write(started.model_copy(update={"first_round": number}))
        log.write(RoundFinished(round=number, survivors=("a",), heldout_loss=None, seconds=9, adapter_sha256=""))

    assert summarize(tmp_path).seconds == 30.0


def test_a_directory_without_a_run_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no run has started there"):
        summarize(tmp_path)


def test_a_history_is_read_up_to_the_last_whole_line(tmp_path: Path) -> None:
    write_history_line(tmp_path, "a", history_line(0, 1, 4))
    path = tmp_path / "sites" / "a" / "history.jsonl"
    with path.open("a") as file:
        file.write('{"round": 2, "kind": "tr')

    tails = HistoryTails(tmp_path)
    assert len(tails.read()["a"].rounds) == 1
    with path.open("a") as file:
        file.write('ain", "heldout_loss": NaN}\n')

    assert tails.read()["a"].rounds[1].heldout_loss is None


def test_the_federation_s_curve_waits_for_all_sites(tmp_path: Path) -> None:
    write_run(tmp_path, stop_after=1)
    write_history_line(tmp_path, SITES[0], history_line(0, 2, 4))

    events, histories = read_events(tmp_path / "events.jsonl"), read_histories(tmp_path)
    assert [trained for trained, _ in federation_curve(fold(RunState(), events), histories)] == [0]


def test_completions_that_are_missing_or_damaged_are_none(tmp_path: Path) -> None:
    assert read_completions(tmp_path) == ()
    (tmp_path / "completions.json").write_text('[{"site": "a"}]')
    assert read_completions(tmp_path) == ()
    assert len(read_completions(write_run(tmp_path / "run"))) == 3


def test_epsilon_is_never_rounded_down() -> None:
    assert [epsilon_text(value) for value in (7.931, 7.93, 8.0, 0.001)] == ["7.94", "7.93", "8.00", "0.01"]


def test_quantities_read_as_a_person_writes_them() -> None:
    assert [bytes_text(n) for n in (812, 4_130_000, 153_400_000)] == ["812 B", "4.1 MB", "153 MB"]
    assert [target_text(value) for value in (8.0, 1e-5, 2.5e-4, 0.0, None)] == ["8", "1e-5", "2.5e-4", "0", "-"]
    assert [duration_text(s) for s in (42, 364, 8100)] == ["42 s", "6 min 04 s", "2 h 15 min"]


def test_a_sparkline_keeps_both_ends_of_the_curve() -> None:
    line = sparkline([9.0, *([4.0] * 50), 1.0], 10)
    assert (len(line), line[0], line[-1]) == (10, "█", "▁")
