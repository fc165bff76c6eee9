"""What is wrong with a tracker, or with what is asked of one, never reaches the run."""

from __future__ import annotations

import logging
import re
import threading
import time
from pathlib import Path

import pytest
from read_back import READERS

from sealora_common.errors import PolicyError, SealoraError
from sealora_common.records.run_state import Ending
from sealora_server.cli import cli
from sealora_server.tracking.follow import Follower, followed
from sealora_server.tracking.kinds import choice
from sealora_server.tracking.kinds.choice import trackers_of
from sealora_server.tracking.tracker import Point, TrackedRun, Tracker

from run_fixture import write_run
from tiny_federation import typed, write_federation


class Remembering(Tracker):
    """Remembers what it was told, and fails when it is told to."""

    def __init__(self, fails_at: int = -1) -> None:
        self.told: list[TrackedRun | Point | Ending | None] = []
        self._fails_at = fails_at

    def _take(self, what: TrackedRun | Point | Ending | None) -> None:
        if len(self.told) == self._fails_at:
            raise OSError(28, "No space left on device")
        self.told.append(what)

    def begin(self, run: TrackedRun) -> None:
        self._take(run)

    def add(self, point: Point) -> None:
        self._take(point)

    def end(self, ended: Ending | None, time: float) -> None:
        self._take(ended)


@pytest.mark.parametrize("fails_at", [0, 3, 10])
def test_a_tracker_that_fails_is_told_no_more_and_the_others_are(tmp_path, fails_at, caplog):
    run = write_run(tmp_path / "run")
    broken, well = Remembering(fails_at), Remembering()
    follower = Follower(run, {"broken": broken, "well": well})
    follower.read()
    follower.close()
    assert len(broken.told) == fails_at
    assert follower.lost == {"broken": "[Errno 28] No space left on device"}
    assert well.told[-1] == "finished"
    assert [point.rounds for point in well.told[1:-1]] == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "broken is told no more of the run, which goes on" in warning.getMessage()


def test_the_recipe_of_a_run_that_cannot_be_read_is_one_warning(tmp_path, caplog):
    run = write_run(tmp_path / "run")
    (run / "recipe.yaml").write_text("name: [")
    tracker = Remembering()
    with followed(run, {"well": tracker}):
        pass
    assert tracker.told == []
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "the run is tracked no more, and goes on" in warning.getMessage()


def test_a_log_that_grows_is_followed_to_its_end(tmp_path):
    whole = write_run(tmp_path / "whole")
    lines = (whole / "events.jsonl").read_text().splitlines(keepends=True)
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_bytes((whole / "recipe.yaml").read_bytes())
    tracker = Remembering()
    with followed(run, {"well": tracker}):
        for part in (lines[: len(lines) // 2], lines[len(lines) // 2 :]):
            with (run / "events.jsonl").open("a") as log:
                log.writelines(part)
            deadline, before = time.monotonic() + 20, len(tracker.told)
            while len(tracker.told) == before and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(tracker.told) > before
    reference = Remembering()
    follower = Follower(whole, {"well": reference})
    follower.read()
    follower.close()
    assert tracker.told == reference.told


def test_a_tracker_that_never_comes_back_does_not_hold_up_the_end(tmp_path, monkeypatch, caplog):
    class Stuck(Remembering):
        def add(self, point: Point) -> None:
            threading.Event().wait(60)

    monkeypatch.setattr("sealora_server.tracking.follow._END_SECONDS", 0.2)
    begun = time.monotonic()
    with followed(write_run(tmp_path / "run"), {"stuck": Stuck()}):
        pass
    assert time.monotonic() - begun < 10
    assert "are left behind" in caplog.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("mlflow", "'mlflow' names no tracker: write one of mlflow:DIR, tensorboard:DIR, wandb:DIR"),
        ("mlflow:", "names no tracker"),
        ("comet:DIR", "names no tracker"),
        ("wandb:https://api.wandb.ai", "wandb is written into a directory"),
    ],
)
def test_what_names_no_tracker_is_one_sentence_before_the_run(tmp_path, words, said):
    run = write_run(tmp_path / "run")
    with pytest.raises(PolicyError, match=re.escape(said)):
        typed(cli, "track", run, words)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes((run / "recipe.yaml").read_bytes())
    with pytest.raises(PolicyError, match=re.escape(said)):
        typed(cli, "simulate", recipe, "--out", tmp_path / "none", "--track", words)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", READERS)
def test_a_library_that_is_missing_is_named_with_what_installs_it(kind, monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(PolicyError, match=re.escape(f'pip install "sealora[{kind}]"')):
        trackers_of([f"{kind}:somewhere"])


def test_a_password_in_an_address_is_not_said(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run")
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(SealoraError, match=r"^mlflow:http://127\.0\.0\.1:9: ") as raised:
        typed(cli, "track", run, "mlflow:http://me:hunter2@127.0.0.1:9")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("kind", READERS)
def test_a_place_that_cannot_be_written_is_the_end_of_the_command_and_not_of_a_run(kind, tmp_path):
    run = write_run(tmp_path / "run")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SealoraError, match="part of its path is a file"):
        typed(cli, "track", run, f"{kind}:{tmp_path / 'file' / 'here'}")


def test_a_directory_without_a_run_is_one_sentence(tmp_path):
    with pytest.raises(SealoraError, match="no run has started there"):
        typed(cli, "track", tmp_path, f"tensorboard:{tmp_path / 'out'}")


@pytest.mark.slow
def test_a_simulation_is_tracked_while_it_goes_and_a_broken_tracker_does_not_end_it(tiny_base, tmp_path):
    recipe = write_federation(tmp_path / "data", tiny_base())
    (tmp_path / "file").write_text("in the way")
    run = tmp_path / "run"
    typed(
        cli, "simulate", recipe, "--out", run,
        "--track", f"tensorboard:{tmp_path / 'out'}", "--track", f"mlflow:{tmp_path / 'file' / 'here'}",
    )  # fmt: skip
    assert (run / "summary.json").exists()
    (found,) = READERS["tensorboard"](tmp_path / "out")
    assert sorted(found.curves["heldout/loss"]) == [0, 1, 2]
    assert found.curves["round/survivors"][2] == [3]
    before = {path: path.read_bytes() for path in Path(run).rglob("*") if path.is_file()}
    typed(cli, "track", run, f"tensorboard:{tmp_path / 'out'}")
    assert {path: path.read_bytes() for path in Path(run).rglob("*") if path.is_file()} == before
