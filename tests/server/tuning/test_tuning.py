"""A tuning at work: taken up where it stopped, never mixed with another, told in figures, a page and a recipe."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from linear_sites import LinearSites, SimulatedLinearSites, recipe_of, write_recipe

from sealora_common.errors import RecipeError, SealoraError, StorageError
from sealora_common.recipe import Recipe, load_recipe
from sealora_common.show.console import SafeConsole
from sealora_server.tuning import tuning
from sealora_server.tuning.page import print_tuning
from sealora_server.tuning.records_kind import RecordsKind
from sealora_server.tuning.result import TuningResult
from sealora_server.tuning.search.field_value import with_values
from sealora_server.tuning.tuning import Tuning

RATE = "training.learning_rate=0.01..2:log"
ROUNDS, SITES = 3, 3
OPEN = {"privacy": {"mechanism": "none"}}
SLOW = {"training": {"sample_rate": 0.1, "steps_per_round": 1, "optimizer": "sgd", "learning_rate": 0.02}}
"""Steps so short that many others are better."""


@pytest.fixture
def tune(monkeypatch, tmp_path) -> Callable[..., tuple[TuningResult, str]]:
    """`tune(sites, ...)`: the tuning, and what it said."""

    def run(
        sites: LinearSites,
        recipe: Recipe | None = None,
        search: tuple[str, ...] = (RATE,),
        trials: int = 6,
        seeds: int = 1,
        records: str | None = "public",
        is_demo: bool = False,
    ) -> tuple[TuningResult, str]:
        monkeypatch.setattr(tuning, "simulated_sites", lambda: SimulatedLinearSites(sites, is_demo=is_demo))
        console = SafeConsole(file=io.StringIO(), width=120)
        recipe = recipe or recipe_of(**OPEN)
        path = write_recipe(tmp_path, recipe)
        found = Tuning(recipe, path, (), tmp_path / "out", search, trials, seeds, records and RecordsKind(records)).run(
            console
        )
        print_tuning(found, tmp_path / "out", console)
        return found, console.file.getvalue()

    return run


def kept(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "out" / "trials").iterdir()}


def test_the_best_trial_s_recipe_is_one_to_hand_on(tune, tmp_path):
    found, said = tune(LinearSites(), recipe_of(**OPEN, **SLOW), trials=8)
    figures = [trial.figure for trial in found.trials]
    assert len(figures) == 8
    assert found.best_trial.figure == min(figures) < figures[0]
    assert found.trials[0].values == {"training.learning_rate": 0.02}
    won = load_recipe(tmp_path / "out" / "best.yaml")
    assert won == with_values(recipe_of(**OPEN, **SLOW), found.best_trial.values)
    assert won.hash == found.best_recipe_hash
    assert load_recipe(tmp_path / "linear.yaml", found.best_overrides) == won
    assert json.loads((tmp_path / "out" / "tuning.json").read_text()) == json.loads(found.model_dump_json())
    page = (tmp_path / "out" / "tuning.html").read_text()
    assert page.count('class="dot site-0"') == 8
    assert "http" not in page.replace("http-equiv", "")
    assert found.best_overrides[0] in page
    assert found.best_overrides[0] in said
    assert "trial 1: held-out loss" in said


def test_trials_are_run_once_and_more_may_follow(tune):
    sites = LinearSites(spread=1.0)
    found, said = tune(sites)
    assert "6 trials of 1 seed, 6 to run" in said
    assert (len(sites.asked), sites.measured) == (6 * ROUNDS * SITES, 6)
    again = LinearSites(spread=1.0)
    assert tune(again)[0] == found
    assert again.asked == []
    more, said = tune(again, trials=8)
    assert "8 trials of 1 seed, 2 to run" in said
    assert more.trials[:6] == found.trials
    fewer, _ = tune(LinearSites(spread=1.0), trials=2)
    assert fewer.trials == more.trials


def test_an_interrupted_trial_is_run_anew_and_all_is_as_without_the_interruption(tune, tmp_path):
    class Interrupted(LinearSites):
        def answer(self, party, order, adapter):
            if len(self.asked) == 12 * ROUNDS * SITES + 4:
                raise KeyboardInterrupt
            return super().answer(party, order, adapter)

    with pytest.raises(KeyboardInterrupt):
        tune(Interrupted(spread=1.0), trials=15)
    assert sorted(kept(tmp_path)) == [f"{number:04d}.json" for number in range(1, 13)]
    found, said = tune(LinearSites(spread=1.0), trials=15)
    assert "3 to run" in said
    (tmp_path / "out").rename(tmp_path / "former")
    assert tune(LinearSites(spread=1.0), trials=15)[0] == found


def test_a_trial_whose_file_was_deleted_is_run_again_as_it_was(tune, tmp_path):
    found, _ = tune(LinearSites(), trials=14)
    before = (tmp_path / "out" / "trials" / "0012.json").read_bytes()
    (tmp_path / "out" / "trials" / "0012.json").unlink()
    again, said = tune(LinearSites(), trials=14)
    assert "1 to run" in said
    assert again == found
    after = (tmp_path / "out" / "trials" / "0012.json").read_bytes()
    assert json.loads(after)["values"] == json.loads(before)["values"]


def test_later_trials_follow_from_what_earlier_ones_came_to(tune, tmp_path):
    one, _ = tune(LinearSites(), trials=14)
    (tmp_path / "out").rename(tmp_path / "former")
    other, _ = tune(LinearSites(), recipe_of(**OPEN, server={"learning_rate": 0.05}), trials=14)
    values = [[trial.values for trial in found.trials] for found in (one, other)]
    assert values[0][:10] == values[1][:10]
    assert values[0] != values[1]


def test_one_recipe_under_the_same_seeds_is_tried_again_with_the_same_luck(tune):
    sites = LinearSites(spread=1.0)
    tune(sites, seeds=2, trials=3)
    assert {order.seed for _, order in sites.asked} == {0, 1}


@pytest.mark.parametrize("case", ["recipe", "records", "version", "search", "seeds", "kind of records"])
def test_trials_of_anything_else_are_refused_and_left_as_they_are(tune, tmp_path, monkeypatch, case):
    tune(LinearSites(), trials=2)
    before = kept(tmp_path)
    if case == "version":
        monkeypatch.setattr(tuning, "__version__", "0.0.0")
    with pytest.raises(StorageError, match="another recipe, another search, other records, other seeds or by another"):
        tune(
            LinearSites("others" if case == "records" else "records"),
            recipe_of(**OPEN, rounds=4) if case == "recipe" else None,
            ("training.learning_rate=0.01..3:log",) if case == "search" else (RATE,),
            2,
            2 if case == "seeds" else 1,
            "synthetic" if case == "kind of records" else "public",
        )
    assert kept(tmp_path) == before


@pytest.mark.parametrize(("name", "what"), [("run.json", "a run"), ("outcomes", "a comparison")])
def test_a_directory_of_something_else_is_left_alone(tune, tmp_path, name, what):
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(StorageError, match=f"out holds {what}: choose another --out"):
        tune(LinearSites())


def test_a_damaged_trial_is_told_by_its_name(tune, tmp_path):
    tune(LinearSites(), trials=3)
    path = tmp_path / "out" / "trials" / "0002.json"
    whole = path.read_bytes()
    for content in (b"{", b"", whole[:-20], b"[]"):
        path.write_bytes(content)
        with pytest.raises(StorageError, match=r"0002\.json: cannot be read .* delete it, and it is run again"):
            tune(LinearSites(), trials=3)
    others = (tmp_path / "out" / "trials" / "0003.json").read_text()
    for content in (others, whole.decode().replace("learning_rate", "learning_rat")):
        path.write_text(content)
        with pytest.raises(StorageError, match=r"0002\.json: is not as it was written: delete it"):
            tune(LinearSites(), trials=3)


def test_two_at_once_in_one_directory_are_refused(tune, tmp_path):
    class Second(LinearSites):
        def heldout(self, adapter):
            with pytest.raises(StorageError, match="is at work on this tuning already"):
                tune(LinearSites(), trials=2)
            return super().heldout(adapter)

    tune(Second(), trials=2)


def test_values_that_the_schema_refuses_together_are_a_trial_without_a_figure(tune):
    sites = LinearSites()
    search = ("training.warmup_steps=0,4", "training.steps_per_round=1,2")
    found, said = tune(sites, search=search, trials=12)
    refused = [trial for trial in found.trials if trial.end == "refused"]
    assert {tuple(trial.values.values()) for trial in refused} == {(4, 1)}
    assert all("training.warmup_steps is 4, but the whole run has 3 steps" in trial.reason for trial in refused)
    assert len(sites.asked) == (12 - len(refused)) * ROUNDS * SITES
    assert "refused: training.warmup_steps is 4" in said.replace("\n", " ")
    assert f"{len(refused)} trial" in " ".join(found.notes)


def test_a_model_that_diverges_is_no_candidate(tune):
    found, _ = tune(LinearSites(diverged="b"), trials=3)
    assert {trial.end for trial in found.trials} == {"diverged"}
    assert (found.best, found.best_overrides, found.best_recipe_hash, found.gain) == (None, (), None, None)


def test_where_the_recipe_as_it_is_was_best_that_is_said(tune, tmp_path):
    found, said = tune(LinearSites(), search=("training.learning_rate=0.001..0.01",), trials=4)
    assert (found.best, found.best_overrides, found.gain) == (1, (), None)
    assert "None of 4 trials was better than the recipe as it is." in said
    assert load_recipe(tmp_path / "out" / "best.yaml") == recipe_of(**OPEN)


def test_trials_that_are_worse_than_the_median_end_early_if_the_recipe_compares_its_rounds(tune):
    recipe = recipe_of(**OPEN, rounds=6, server={"keep": "best"})
    sites = LinearSites()
    found, _ = tune(sites, recipe, trials=16)
    pruned = [trial for trial in found.trials if trial.end == "pruned"]
    assert pruned
    assert all(
        trial.figure is None and "the median of the trials before was better" in trial.reason for trial in pruned
    )
    assert len([order for _, order in sites.asked if order.purpose == "train"]) < 16 * 6 * SITES
    assert not any(trial.end == "pruned" for trial in tune(LinearSites(), recipe, trials=16)[0].trials[:5])


@pytest.mark.parametrize(("server", "search"), [({}, (RATE,)), ({"keep": "best"}, (RATE, "rounds=3..6"))])
def test_none_ends_early_where_rounds_are_not_compared_or_would_not_be_alike(tune, server, search):
    found, _ = tune(LinearSites(), recipe_of(**OPEN, rounds=6, server=server), search=search, trials=16)
    assert found.prunes is False
    assert {trial.end for trial in found.trials} == {"done"}


@pytest.mark.parametrize("case", ["continue_from", "groups", "nobody said what the records are", "no noise"])
def test_what_cannot_be_tuned_is_one_sentence(tune, case):
    recipe, records = recipe_of(**OPEN), "public"
    if case == "continue_from":
        recipe = recipe_of(**OPEN, continue_from="a" * 64)
    if case == "groups":
        recipe = recipe_of(**OPEN, sealing={"groups": 4, "min_survivors": 2}, sites={"minimum": 8, "simulated": {}})
    if case == "nobody said what the records are":
        records = None
    if case == "no noise":
        records = "private"
    said = {
        "continue_from": "continue_from is set",
        "groups": "groups",
        "nobody said what the records are": "say what yours are by --records public, synthetic or private",
        "no noise": "privacy.mechanism is none, so nothing bounds",
    }
    with pytest.raises(RecipeError, match=said[case]):
        tune(LinearSites(), recipe, records=records)


def test_records_of_demo_data_need_no_word(tune):
    found, _ = tune(LinearSites(), records=None, is_demo=True, trials=2)
    assert (found.records, found.records_recognised) == ("synthetic", True)
    assert "recognised as those of demo-data" in found.notes[0]


def test_without_optuna_one_sentence_says_what_to_install(tune, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(SealoraError, match=r'not installed: pip install "sealora\[tune\]"'):
        tune(LinearSites())


def test_the_lines_of_the_recipe_are_kept_with_their_comments(monkeypatch, tmp_path):
    monkeypatch.setattr(tuning, "simulated_sites", lambda: SimulatedLinearSites(LinearSites()))
    path = tmp_path / "own.yaml"
    path.write_text(
        "# ours\nname: linear # a name\nrounds: 3\nmodel: {base: nowhere}\ntraining:\n"
        "  learning_rate: 0.02 # chosen by hand\n  optimizer: sgd\n  steps_per_round: 1\n"
        "privacy: {mechanism: none} # open\nsites:\n  simulated: {a: a.jsonl, b: b.jsonl, c: c.jsonl}\n"
    )
    overrides = ("rounds=4", "server.optimizer=fedavgm")
    asked = Tuning(load_recipe(path, overrides), path, overrides, tmp_path / "out", (RATE,), 8, 1, RecordsKind.PUBLIC)
    found = asked.run(SafeConsole(file=io.StringIO()))
    assert found.best != 1
    text = (tmp_path / "out" / "best.yaml").read_text()
    rate = found.best_trial.values["training.learning_rate"]
    assert f"  learning_rate: {rate} # chosen by hand\n" in text
    assert text.startswith("# ours\nname: linear # a name\nrounds: 4\n")
    assert "privacy: {mechanism: none} # open\n" in text
    assert text.endswith("server:\n  optimizer: fedavgm\n")
