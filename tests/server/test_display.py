from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from sealora_common.records.completions import read_completions
from sealora_common.records.event_log import EventLog, read_events
from sealora_common.records.events import RunFailed, SitesReady, TurnedAway
from sealora_common.records.fold import fold
from sealora_common.records.run_state import RunState
from sealora_server.view.histories import federation_curve, read_histories
from sealora_server.view.live.console_faces import console_face
from sealora_server.view.live.display import RunDisplay
from sealora_server.view.live.face import Face, Update
from sealora_server.view.live.frame import Snapshot, frame
from sealora_server.view.results import print_results
from sealora_server.view.summary import summarize

from run_fixture import SITES, write_run

MANY = tuple(f"hospital-{index:02d}" for index in range(12))


BUDGET = "the site's privacy budget does not allow this whole run"
AWAY = (TurnedAway(site="clinic-east", node=7, reason=BUDGET), TurnedAway(site=None, node=9, reason="no\x1b[2J"))


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=False)


def shown_on(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def frame_of(run_dir: Path) -> str:
    events, histories = read_events(run_dir / "events.jsonl"), read_histories(run_dir)
    state = fold(RunState(), events)
    curve = federation_curve(state, histories)
    snapshot = Snapshot(state, histories, curve, notice="x" * 400, now=events[-1].time + 5)
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None)
    console.print(frame(snapshot, width=80, height=24))
    return shown_on(console)


def test_plain_lines_tell_the_run_one_line_an_event(tmp_path: Path) -> None:
    console = plain_console()
    with RunDisplay(tmp_path, console_face(console)):
        write_run(tmp_path, with_trouble=True)

    shown = shown_on(console)
    assert "demo-icd10: 4 rounds, epsilon <= 8, delta <= 1e-5 at every site" in shown
    assert "round 2/4: training at 3 sites ..." in shown
    assert "round 2/4: lost oncology-institute (train): no answer within 3600 seconds" in shown
    assert "round 2/4: sealed sum of 3 sites opened, noisy held-out loss at its start 4.1" in shown
    assert "final adapter: noisy held-out loss 2.7" in shown
    assert shown.isascii()
    assert len(shown.splitlines()) == 16


def test_who_takes_no_part_is_told_with_the_reason_beside_those_who_do(tmp_path: Path) -> None:
    console = plain_console()
    with RunDisplay(tmp_path, console_face(console)):
        write_run(tmp_path, stop_after=0, turned_away=AWAY, missing=("clinic-west",))

    (line,) = [line for line in shown_on(console).splitlines() if "ready" in line]
    assert line == (
        f"3 sites ready: {', '.join(SITES)}; not taking part: clinic-east ({BUDGET}), node 9 (no [2J); "
        "missing: clinic-west"
    )


def test_a_frame_shows_who_takes_no_part_until_it_does(tmp_path: Path) -> None:
    write_run(tmp_path, stop_after=1, turned_away=AWAY)
    row = next(line for line in frame_of(tmp_path).splitlines() if line.startswith("clinic-east"))
    assert "✕ takes no part" in row

    EventLog(tmp_path / "events.jsonl").write(SitesReady(sites=(*SITES, "clinic-east")))
    row = next(line for line in frame_of(tmp_path).splitlines() if line.startswith("clinic-east"))
    assert "takes no part" not in row


def test_a_frame_of_many_sites_counts_those_that_take_no_part(tmp_path: Path) -> None:
    many = tuple(f"clinic-{n:03d}" for n in range(40))
    shown = frame_of(write_run(tmp_path, sites=many, own_files=False, stop_after=1, turned_away=AWAY))
    assert "42: 1 answered, 39 at work, 0 lost, 2 not taking part" in shown


def test_the_live_display_says_why_a_site_takes_no_part(tmp_path: Path) -> None:
    console = Console(file=Utf8Text(), width=80, height=24, force_terminal=True)
    with RunDisplay(tmp_path, console_face(console)):
        write_run(tmp_path, stop_after=0, turned_away=AWAY)
    assert f"clinic-east ({BUDGET[:20]}" in " ".join(shown_on(console).split())


def test_the_results_name_who_took_no_part(tmp_path: Path) -> None:
    console = plain_console()
    write_run(tmp_path, turned_away=AWAY, missing=("clinic-west",))
    print_results(summarize(tmp_path), (), tmp_path, console)
    shown = " ".join(shown_on(console).split())
    assert f"clinic-east took no part: {BUDGET}" in shown
    assert "node 9 took no part: no [2J" in shown
    assert "missing: clinic-west" in shown


def test_plain_lines_of_a_resumed_run_do_not_repeat_its_past(tmp_path: Path) -> None:
    write_run(tmp_path, stop_after=2)
    console = plain_console()
    with RunDisplay(tmp_path, console_face(console)):
        EventLog(tmp_path / "events.jsonl").write(RunFailed(reason="no sites"))

    assert shown_on(console) == "run failed: no sites\n"


@pytest.mark.parametrize("sites", [SITES, MANY, tuple(f"clinic-{n:03d}" for n in range(200))])
@pytest.mark.parametrize("own_files", [True, False])
def test_a_frame_fits_80_columns_and_24_lines(tmp_path: Path, sites: tuple[str, ...], own_files: bool) -> None:
    write_run(tmp_path, sites=sites, own_files=own_files, stop_after=2)

    lines = frame_of(tmp_path).splitlines()

    assert len(lines) < 24
    assert max(len(line) for line in lines) <= 80


def test_a_frame_shows_round_stage_loss_epsilon_and_bytes_of_each_site(tmp_path: Path) -> None:
    shown = frame_of(write_run(tmp_path, stop_after=2))

    assert "Round 3 of 4" in shown
    assert "training, 1 of 3" in shown
    row = next(line for line in shown.splitlines() if line.startswith(SITES[0]))
    assert "● trained" in row
    assert "3.804" in row
    assert "5.61" in row
    assert row.endswith("3.7 MB")
    assert "min" in next(line for line in shown.splitlines() if line.startswith("Time"))


def test_the_live_display_draws_on_a_terminal_and_wipes_itself_when_done(tmp_path: Path) -> None:
    console = Console(file=Utf8Text(), width=80, height=24, force_terminal=True)
    with RunDisplay(tmp_path, console_face(console)):
        write_run(tmp_path, stop_after=2)
        deadline = time.monotonic() + 10
        while "Round 3 of 4" not in shown_on(console) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "Round 3 of 4" in shown_on(console)


def test_nothing_that_goes_wrong_in_the_display_reaches_the_run(tmp_path: Path) -> None:
    class Broken(Console):
        def print(self, *_: object, **__: object) -> None:
            raise OSError("the terminal is gone")

    with RunDisplay(tmp_path, console_face(Broken(file=io.StringIO()))):
        write_run(tmp_path)


def test_a_face_that_fails_keeps_no_other_from_showing(tmp_path: Path) -> None:
    class Broken(Face):
        def begin(self) -> None:
            raise OSError("the tracker is gone")

        def show(self, update: Update) -> None:
            raise OSError("the tracker is gone")

        def end(self, state: RunState) -> None:
            raise OSError("the tracker is gone")

    class Tracker(Face):
        told: list[object]

        def begin(self) -> None:
            self.told = ["begun"]

        def show(self, update: Update) -> None:
            self.told += [recorded.event.event for recorded in update.new]

        def end(self, state: RunState) -> None:
            self.told.append(state.ended)

    tracker = Tracker()
    with RunDisplay(tmp_path, Broken(), tracker):
        write_run(tmp_path)
    assert (tracker.told[0], tracker.told[-1]) == ("begun", "finished")
    assert tracker.told[1:-1] == [recorded.event.event for recorded in read_events(tmp_path / "events.jsonl")]


def test_an_error_of_the_run_passes_through_the_display(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunDisplay(tmp_path, console_face(plain_console())):
        raise KeyboardInterrupt


@pytest.mark.parametrize("own_files", [True, False])
def test_results_fit_80_columns_and_show_every_site_and_completion(tmp_path: Path, own_files: bool) -> None:
    write_run(tmp_path, own_files=own_files)
    console = plain_console()
    print_results(summarize(tmp_path), read_completions(tmp_path), Path("run"), console)

    shown = shown_on(console)
    assert all(name in shown for name in SITES)
    assert "federation" in shown
    assert "<b>chapter</b>" in shown
    assert "run/report.html" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


def test_text_of_a_model_cannot_steer_the_terminal(tmp_path: Path) -> None:
    write_run(tmp_path)
    completion = read_completions(tmp_path)[0].model_copy(update={"after": "\x1b[2J[red]gone[/red]\x07"})
    console = plain_console()
    print_results(summarize(tmp_path), [completion], tmp_path, console)

    assert "\x1b" not in shown_on(console)
    assert "[red]gone[/red]" in shown_on(console)


class Utf8Text(io.StringIO):
    """A text buffer that says it can show Unicode, as a terminal does."""

    @property
    def encoding(self) -> str:
        return "utf-8"
