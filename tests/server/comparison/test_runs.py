"""Finished runs side by side: what is shown of each, how recipes differ, and what is not to be compared."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from linear_sites import UNITS, recipe_of, write_recipe

from sealora_common.errors import SealoraError
from sealora_common.records.event_log import EventLog
from sealora_common.records.events import EvaluationFinished, RoundFinished, RunFinished, RunStarted, SitesReady
from sealora_common.records.heldout_figure import HeldoutFigure
from sealora_common.show.console import SafeConsole
from sealora_server.comparison.runs import compare_runs
from sealora_server.comparison.runs_page import print_runs
from sealora_server.view.summary import summarize

SITES = tuple(UNITS)


def write_run(
    directory: Path,
    after: float,
    *,
    before: float = 5.0,
    noise: float | None = 48.0,
    noise_least: float | None = None,
    heldout: HeldoutFigure | None = None,
    histories: bool = False,
    finished: bool = True,
    continue_from: str | None = None,
    insecure: bool = False,
    **sections: object,
) -> Path:
    """A run of three rounds as its directory tells it; with `histories` a simulation's, whose figures are exact."""
    directory.mkdir(parents=True)
    recipe = recipe_of(**sections)
    write_recipe(directory, recipe).rename(directory / "recipe.yaml")
    log = EventLog(directory / "events.jsonl")
    log.write(
        RunStarted(
            name=recipe.name,
            run_id="0" * 32,
            rounds=3,
            recipe_hash=recipe.hash,
            epsilon=8.0,
            delta=1e-5,
            mechanism="local",
            first_round=1,
            heldout=heldout or HeldoutFigure(),
            heldout_noise=noise,
            heldout_noise_least=noise_least,
            continue_from=continue_from,
            insecure=insecure,
        )
    )
    log.write(SitesReady(sites=SITES))
    for number in (1, 2, 3):
        told = before if number == 1 else None
        log.write(RoundFinished(round=number, survivors=SITES, heldout_loss=told, seconds=2.0, adapter_sha256="a" * 64))
    if finished:
        log.write(EvaluationFinished(heldout_loss=after, survivors=SITES))
        log.write(
            RunFinished(
                seconds=6.0,
                heldout_loss_before=before,
                heldout_loss_after=after,
                adapter_sha256="b" * 64,
                kept_round=3,
            )
        )
    for site in SITES if histories else ():
        lines = [
            {"round": 1, "kind": "train", "heldout_loss": before, "epsilon": 3.0, "bytes_up": 10, "bytes_down": 20},
            {"round": 4, "kind": "evaluate", "heldout_loss": after, "epsilon": 7.5, "bytes_up": 1, "bytes_down": 2},
        ]
        own = directory / "sites" / site / "history.jsonl"
        own.parent.mkdir(parents=True)
        own.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return directory


def page(*directories: Path) -> str:
    console = SafeConsole(file=io.StringIO(), width=400)  # no path is folded
    print_runs(compare_runs(directories), console)
    return console.file.getvalue()


def test_figures_of_simulations_are_exact_and_the_sites_tell_what_was_spent(tmp_path):
    first = write_run(tmp_path / "first", 3.0, histories=True)
    second = write_run(tmp_path / "second", 2.0, histories=True)
    found = compare_runs([first, second])
    assert [(run.heldout_before, run.heldout_after, run.noise) for run in found.runs] == [(5, 3, 0), (5, 2, 0)]
    assert [(run.epsilon, run.epsilon_spent, run.bytes_up, run.bytes_down) for run in found.runs] == [
        (8, 7.5, 33, 66)
    ] * 2
    assert found.runs[0].adapter_sha256 == "b" * 64
    assert found.differences == ()
    said = page(first, second)
    assert "exact" in said
    assert "Their recipes agree in every field." in said
    assert str(first) in said


def test_figures_of_a_deployment_have_the_least_noise_that_they_can_have(tmp_path):
    runs = [write_run(tmp_path / name, after, data={"heldout_limit": 16}) for name, after in (("a", 3.0), ("b", 4.0))]
    found = compare_runs(runs)
    assert found.runs[0].noise == pytest.approx(48.0 / 16 / 3**0.5)
    assert found.runs[0].noise_is_least
    assert found.runs[0].epsilon_spent is None
    assert f"{runs[0]} and {runs[1]} differ by 1.000 nats a token, which is within the noise" in found.notes[0]
    assert "± 1.8 or more" in page(*runs)


def test_the_noise_is_what_the_run_s_own_report_says(tmp_path):
    runs = [write_run(tmp_path / name, 3.0, noise_least=2.0) for name in ("a", "b")]
    assert compare_runs(runs).runs[0].noise == summarize(runs[0]).heldout_noise == pytest.approx(2.0 / 3**0.5)


def test_what_is_beyond_the_noise_is_not_said_to_be_within_it(tmp_path):
    runs = [write_run(tmp_path / name, after, noise=1.0) for name, after in (("a", 3.0), ("b", 4.0))]
    assert not any("within the noise" in note for note in compare_runs(runs).notes)


def test_recipes_are_compared_field_by_field(tmp_path):
    one = write_run(
        tmp_path / "one", 3.0, privacy={"mechanism": "local", "epsilon": 2.0}, lora={"target_modules": ["q"]}
    )
    two = write_run(tmp_path / "two", 3.0, rounds=5)
    found = {row.field: row.values for row in compare_runs([one, two]).differences}
    assert found == {
        "rounds": ("3", "5"),
        "lora.target_modules": ('["q"]', found["lora.target_modules"][1]),
        "privacy.epsilon": ("2.0", "8.0"),
    }
    assert "privacy.epsilon" in page(one, two)


def test_runs_of_another_figure_are_refused(tmp_path):
    one = write_run(tmp_path / "one", 3.0)
    share = HeldoutFigure(name="held-out accuracy", unit="share of records", better="higher")
    two = write_run(tmp_path / "two", 0.5, heldout=share)
    with pytest.raises(SealoraError, match=r"one was judged by held-out loss in nats a token, and .*two by held-out a"):
        compare_runs([one, two])


def test_of_a_share_the_higher_is_the_better(tmp_path):
    share = HeldoutFigure(name="held-out accuracy", unit="share of records", better="higher")
    runs = [write_run(tmp_path / name, after, heldout=share, noise=6.0) for name, after in (("a", 0.50), ("b", 0.51))]
    assert "differ by 1.0 points" in compare_runs(runs).notes[0]
    assert "51.0 %" in page(*runs)


def test_one_run_an_unfinished_one_and_no_run_are_refused(tmp_path):
    one = write_run(tmp_path / "one", 3.0)
    with pytest.raises(SealoraError, match="name two runs or more"):
        compare_runs([one])
    with pytest.raises(SealoraError, match=r"two: this run is not finished \(running, 3 of 3 rounds\): finish it"):
        compare_runs([one, write_run(tmp_path / "two", 3.0, finished=False)])
    with pytest.raises(SealoraError, match="no run has started there"):
        compare_runs([one, tmp_path])


def test_a_recipe_that_cannot_be_read_is_told_by_its_name(tmp_path):
    one, two = write_run(tmp_path / "one", 3.0), write_run(tmp_path / "two", 3.0)
    (two / "recipe.yaml").write_text("name: [")
    with pytest.raises(SealoraError, match=r"two/recipe\.yaml"):
        compare_runs([one, two])
    (two / "recipe.yaml").unlink()
    with pytest.raises(SealoraError, match=r"two/recipe\.yaml: no such recipe"):
        compare_runs([one, two])


def test_what_makes_a_comparison_doubtful_is_said(tmp_path):
    one = write_run(tmp_path / "one", 3.0, histories=True)
    other = write_run(tmp_path / "other", 2.0, before=4.0, histories=True)
    assert any("Before training their figures differ" in note for note in compare_runs([one, other]).notes)
    later = write_run(tmp_path / "later", 2.0, before=4.0, histories=True, continue_from="c" * 64)
    assert any("different adapters (continue_from)" in note for note in compare_runs([one, later]).notes)
    seeded = write_run(tmp_path / "seeded", 2.0, insecure=True)
    notes = compare_runs([one, seeded]).notes
    assert any("seeded: its randomness was seeded for a test." in note for note in notes)
    assert any(note.startswith("Each is one run") for note in notes)
    shutil.copytree(one, tmp_path / "copy")
    assert len(compare_runs([one, tmp_path / "copy"]).notes) == 1
