"""What a run's page knows: of its sites, its receipts, and of what is to be looked at."""

from __future__ import annotations

import re
import shutil
import threading
import time

import pytest
from acting import STATUS
from shown_dashboard import WrittenRun, write_sealed_run

from sealora_common.records.event_log import read_events
from sealora_common.records.events import RunFailed, RunFinished, SiteBlamed, SiteReplied, SitesReady, Stage
from sealora_common.records.fold import fold
from sealora_common.records.run_state import RunState
from sealora_common.web.pages import moment
from sealora_server.dashboard.app import Dashboard, run_values
from sealora_server.dashboard.facts import ServerFacts
from sealora_server.dashboard.receipt_watch import ReceiptWatch
from sealora_server.dashboard.run_watch import RunWatch
from sealora_server.dashboard.site_words import site_facts
from sealora_server.dashboard.watched import ServerWatch, Watched
from sealora_server.deployment.operator.messages import RunStatus, SiteStatus

SITES = ("a", "b", "c")


class Clock:
    now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def written(tmp_path, clock) -> WrittenRun:
    return WrittenRun(tmp_path / "run", SITES, 3, began=clock.now, step=1.0)


@pytest.fixture
def sealed_run(tmp_path):
    write_sealed_run(tmp_path / "sealed")
    return tmp_path / "sealed"


def words(run) -> dict[str, tuple[str, str]]:
    return {site.name: (site.word, site.tone) for site in run.sites}


def test_how_each_site_is_stage_by_stage(written, tmp_path, clock):
    watch = RunWatch("run", tmp_path / "run", clock)
    assert words(watch.look()) == dict.fromkeys(SITES, ("ready", "good"))
    written.write(Stage(round=1, stage="train", sites=3))
    written.write(*(SiteReplied(round=1, stage="train", site=site, bytes_up=1, bytes_down=1) for site in "ab"))
    clock.now += 6
    assert words(watch.look()) == {"a": ("trained", "good"), "b": ("trained", "good"), "c": ("training", "plain")}
    clock.now += 60
    late = watch.look()
    assert late.sites[0].name == "c"  # what is to be looked at comes first
    assert words(late)["c"] == ("late: training", "warn")
    assert any(notice.text.startswith("c: no answer to the stage train for 1 min") for notice in late.notices)
    assert late.waiting_for == ("c",)
    written.write(Stage(round=1, stage="mask", sites=3))
    written.write(SiteReplied(round=1, stage="mask", site="a", bytes_up=5_000, bytes_down=10))
    assert words(watch.look())["a"] == ("sealed", "good")
    written.write(SiteBlamed(round=1, attempt=1, site="b", reason="two keys", evidence="blame/1.json"))
    run = watch.look()
    assert words(run)["b"] == ("broke the protocol", "bad")
    assert any("b broke the sealing protocol in round 1: two keys." in notice.text for notice in run.notices)


def test_who_is_late_is_told_by_what_the_others_took(written, clock):
    entries = [
        Stage(round=1, stage="train", sites=3),
        *(SiteReplied(round=1, stage="train", site=site, bytes_up=1, bytes_down=1) for site in "ab"),
    ]
    written.write(*entries)
    state = fold(RunState(roster=SITES), read_events(written.path))
    began = state.stage.began_at
    for seconds, is_late in ((5, False), (19, False), (21, True)):
        facts = {site.name: site for site in site_facts(state, began + seconds, is_over=False)}
        assert (facts["c"].tone == "warn") is is_late


def test_a_run_is_read_once_and_then_as_it_grows_and_the_same_is_known_of_it_after_a_restart(written, tmp_path, clock):
    watch = RunWatch("run", tmp_path / "run", clock)
    for number in (1, 2, 3):
        written.write_round(number, without="c" if number == 2 else "")
        watch.look()
    written.write(RunFinished(seconds=9.0, heldout_loss_before=5.0, heldout_loss_after=2.0, adapter_sha256="cd" * 32))
    grown, anew = watch.look(), RunWatch("run", tmp_path / "run", clock).look()
    assert grown == anew
    assert grown.condition == "finished"
    assert {site.name: site.in_sums for site in grown.sites} == {"a": 3, "b": 3, "c": 2}
    assert grown.state.bytes_of_stages["mask"].up == 8 * 12_345
    assert grown.story[0].text.startswith("finished in 9 s")


def test_what_ended_a_run_is_told_with_what_to_do(written, tmp_path, clock):
    written.write(RunFailed(reason="the disk is full: free some space"))
    run = RunWatch("run", tmp_path / "run", clock).look()
    assert run.condition == "failed"
    assert run.notices[0].text == "It failed: the disk is full: free some space."
    assert "sealora server resume run" in run.notices[0].remedy


def test_every_figure_has_its_noise_beside_it_the_untrained_adapter_s_too(written, tmp_path, clock):
    written.write_round(1)
    written.write_round(2)
    watched = Watched([tmp_path / "run"], clock)
    pages = Dashboard.of(watched, lambda said: None, "test", is_secure=False).pages
    shown = pages.text("run/now.html.j2", **run_values(watched.run("run")))
    assert re.search(r"untrained \d\.\d{3} \(noise \+-[\d.]+ or more\)", shown)


def test_a_run_that_has_fallen_silent_is_told_as_such(written, tmp_path, clock):
    watch = RunWatch("run", tmp_path / "run", clock)
    assert watch.look().notices == ()
    clock.now += 4_000
    assert any("Nothing has happened for 1 h 06 min" in notice.text for notice in watch.look().notices)


def test_sites_that_are_missing_are_named(written, tmp_path, clock):
    written.write(SitesReady(sites=("a", "b"), needed=2, missing=("c", "d")))
    run = RunWatch("run", tmp_path / "run", clock).look()
    assert words(run)["d"] == ("not connected", "warn")
    assert any(notice.text == "Not connected: c, d." and "sealora-site run" in notice.remedy for notice in run.notices)


def test_receipts_are_checked_and_one_that_was_tampered_with_is_found(sealed_run):
    watch = ReceiptWatch(sealed_run)
    chain = watch.look(60)
    assert (chain.count, len(chain.receipts), chain.problem) == (3, 3, "")
    assert all(receipt.confirmed >= receipt.needed > 0 for receipt in chain.receipts)
    path = next(sealed_run.glob("rounds/*2/receipt.json"))
    good = path.read_bytes()
    path.write_bytes(good.replace(f"{2:064x}".encode(), f"{9:064x}".encode()))
    chain = watch.look(60)
    assert len(chain.receipts) == 1
    assert "the receipt of round 2 is refused: it is not signed by the roster's server" in chain.problem
    path.write_bytes(good)
    assert watch.look(60).problem == ""
    path.unlink()
    assert "receipt.json: cannot be read" in watch.look(60).problem
    path.write_bytes(good)
    roster = sealed_run / "roster.json"
    roster.write_bytes(roster.read_bytes().replace(b"site-1", b"site-9"))
    assert watch.look(60).problem != ""


def test_one_run_alone_is_shown_too(sealed_run):
    watched = Watched([sealed_run])
    run = watched.run("sealed")
    assert run is not None
    assert run.state.roster == ("site-0", "site-1", "site-2", "site-3")
    assert watched.run("other") is None
    assert [each.key for each in watched.overview().runs] == ["sealed"]


def test_a_run_that_is_made_later_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("sealora_server.dashboard.watched._LOOK_SECONDS", 0.0)
    (tmp_path / "runs").mkdir()
    watched = Watched([tmp_path / "runs"])
    assert watched.overview().runs == ()
    WrittenRun(tmp_path / "runs" / "new", SITES, 2)
    assert [run.key for run in watched.overview().runs] == ["new"]


def test_checking_stops_after_its_time_and_goes_on(sealed_run):
    watch = ReceiptWatch(sealed_run)
    assert len(watch.look(0).receipts) == 0
    assert not watch.facts.is_checked
    assert len(watch.look(60).receipts) == 3
    assert watch.facts.is_checked


@pytest.mark.parametrize("lost", ["rounds/0003", "rounds/0001", "rounds", "run.json"])
def test_a_chain_from_which_receipts_are_missing_is_not_shown_as_whole(sealed_run, lost):
    assert RunWatch("run", sealed_run).look().chain.problem == ""
    watch = RunWatch("run", sealed_run)
    path = sealed_run / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    run = watch.look()
    assert str(path if lost != "rounds" else path / "0001") in run.chain.problem
    assert "from a backup" in run.chain.problem
    assert any(notice.text.startswith("Its receipts do not hold: ") for notice in run.notices)


def test_a_run_of_the_same_name_as_one_that_was_deleted_is_another_one(tmp_path, monkeypatch):
    monkeypatch.setattr("sealora_server.dashboard.watched._LOOK_SECONDS", 0.0)
    runs = tmp_path / "runs"
    write_sealed_run(runs / "first", rounds=3)
    watched = Watched([runs])
    assert watched.run("first").state.rounds_finished == 3
    shutil.rmtree(runs / "first")
    write_sealed_run(runs / "first", rounds=2)
    run = watched.run("first")
    assert (run.key, run.state.rounds_finished, run.chain.count, run.chain.problem) == ("first", 2, 2, "")
    assert not any(line.text.startswith("round 3") for line in run.story)


@pytest.fixture
def served_run(bench, tmp_path):
    """What is watched: a server, at one of whose runs three sites are at work, and a run elsewhere of the same name."""
    written = WrittenRun(bench.server.runs / "first", SITES, 3)
    written.write(Stage(round=1, stage="train", sites=3))
    WrittenRun(tmp_path / "elsewhere" / "first", SITES, 2).write(RunFailed(reason="the disk is full"))
    bench.server.config_file.write_text("hosts: [localhost]\n")
    watched = Watched([bench.server.path, tmp_path / "elsewhere"])
    run = RunStatus(name="first", condition="running", said="it runs", finished_rounds=0, rounds=3)
    sites = tuple(SiteStatus(name=name, online=name != "c") for name in SITES)
    status = STATUS.model_copy(update={"runs": (run,), "sites": sites})
    watched.server.look = lambda: ServerFacts(bench.server.path, status, "")
    return watched


def test_a_site_that_is_not_connected_any_more_is_not_shown_as_at_work(served_run):
    assert words(served_run.run("first")) == {
        "a": ("training", "plain"),
        "b": ("training", "plain"),
        "c": ("not connected", "warn"),
    }


def test_what_the_server_says_of_a_run_is_said_of_none_elsewhere(served_run):
    run = served_run.run("elsewhere-first")
    assert (run.condition, run.notices[0].text) == ("failed", "It failed: the disk is full.")


def test_a_server_that_says_nothing_any_more_is_not_shown_as_it_was(bench, monkeypatch):
    monkeypatch.setattr("sealora_server.dashboard.watched._STATUS_SECONDS", 0.0)
    monkeypatch.setattr("sealora_server.dashboard.watched._PATIENCE", 0.5)
    monkeypatch.setattr("sealora_server.dashboard.watched._SILENT_SECONDS", 0.4)
    goes_on = threading.Event()
    goes_on.set()

    def ask(socket, request):
        goes_on.wait(10)
        return STATUS

    monkeypatch.setattr("sealora_server.dashboard.watched.ask", ask)
    watch = ServerWatch(bench.server)
    assert watch.look().status == STATUS
    goes_on.clear()
    assert watch.look().status == STATUS  # it may only be slow
    silent = watch.look()
    assert (silent.status, silent.problem.startswith("it has said nothing for ")) == (None, True)
    goes_on.set()
    deadline = time.monotonic() + 5
    while watch.look().status is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watch.look().status == STATUS


@pytest.mark.parametrize("at", ["1e99", "-1e99", "253402300800", "1e400", "NaN", "true", "9" * 99])
def test_an_event_of_no_time_that_there_is_keeps_no_page_from_being_made(written, tmp_path, clock, at):
    with written.path.open("a") as file:
        file.write(f'{{"time":{at},"event":"run_failed","reason":"x"}}\n')
    run = RunWatch("run", tmp_path / "run", clock).look()
    for seconds in (run.state.last_at, *(line.time for line in run.story)):
        assert "UTC" in moment(seconds)
