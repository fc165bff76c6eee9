"""Tuning on private records: noise that nobody can draw again, no exact figure, and the price of all that was shown."""

from __future__ import annotations

import io
import json

import pytest
from linear_sites import HELDOUT, LinearSites, SimulatedLinearSites, recipe_of, write_recipe

from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe
from sealora_common.show.console import SafeConsole
from sealora_common.show.quantities import epsilon_text
from sealora_server.tuning import tuning
from sealora_server.tuning.records_kind import RecordsKind
from sealora_server.tuning.result import TuningResult
from sealora_server.tuning.search.field_value import with_values
from sealora_server.tuning.tuning import Tuning

SEARCH = ("training.learning_rate=0.01..2:log", "training.sample_rate=0.05..0.2")
PRIVATE = {"privacy": {"mechanism": "local", "epsilon": 4.0, "delta": 1e-4}}


@pytest.fixture
def tune(monkeypatch, tmp_path):
    def run(sites: LinearSites, recipe: Recipe, trials: int = 3, seeds: int = 1, search=SEARCH, out="out"):
        monkeypatch.setattr(tuning, "simulated_sites", lambda: SimulatedLinearSites(sites))
        console = SafeConsole(file=io.StringIO(), width=200)
        path = write_recipe(tmp_path, recipe)
        found = Tuning(recipe, path, (), tmp_path / out, search, trials, seeds, RecordsKind.PRIVATE).run(console)
        return found, console.file.getvalue()

    return run


def by_hand(found: TuningResult, recipe: Recipe, figures_each: int) -> tuple[float, float]:
    """Of training and of held-out records, event by event, as a ledger would have it."""
    train, heldout = [], []
    for trial in found.trials:
        plan = privacy_plan(with_values(recipe, trial.values), 3)
        for _ in range(found.seeds):
            train += [plan.training.event] * recipe.rounds
            heldout += [plan.heldout.event] * figures_each
    return epsilon_pld(train, recipe.privacy.delta), epsilon_pld(heldout, recipe.privacy.delta)


@pytest.mark.slow
@pytest.mark.parametrize(("server", "figures_each"), [({}, 1), ({"keep": "best"}, 4)])
def test_the_price_is_what_the_accountant_says_of_all_trials_events_together(tune, server, figures_each):
    recipe = recipe_of(**PRIVATE, server=server)
    found, said = tune(LinearSites(), recipe, seeds=2)
    price = found.price
    assert price is not None
    assert (price.train_epsilon, price.heldout_epsilon) == by_hand(found, recipe, figures_each)
    assert price.epsilon == max(price.train_epsilon, price.heldout_epsilon)
    assert price.train_epsilon > recipe.privacy.epsilon
    assert (price.runs, price.figures) == (6, 6 * figures_each)
    assert price.with_run_epsilon == price.epsilon + 4.0
    assert price.delta == recipe.privacy.delta
    # It was said before the first trial.
    before = said.partition("trial 1:")[0]
    assert f"Tuning has cost epsilon {epsilon_text(price.epsilon)} at delta 1e-4" in before


def test_more_trials_cost_more_and_refused_ones_nothing(tune):
    search = ("training.warmup_steps=0,4", "training.steps_per_round=1,2")
    found, _ = tune(LinearSites(), recipe_of(**PRIVATE), trials=8, search=search)
    trained = [trial for trial in found.trials if trial.end == "done"]
    assert 0 < len(trained) < 8
    assert found.price.runs == len(trained)
    two, _ = tune(LinearSites(), recipe_of(**PRIVATE), trials=2, search=SEARCH, out="two")
    three, _ = tune(LinearSites(), recipe_of(**PRIVATE), trials=3, search=SEARCH, out="three")
    assert 4.0 < two.price.train_epsilon < three.price.train_epsilon


def test_every_training_has_a_seed_of_its_own_that_is_written_nowhere(tune, tmp_path):
    sites = LinearSites()
    tune(sites, recipe_of(**PRIVATE), trials=3, seeds=2)
    seeds = list(dict.fromkeys(order.seed for _, order in sites.asked))
    assert len(seeds) == 6
    assert min(seeds) > 2**200  # drawn, by the kernel, of 256 bits
    written = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.*") if path.is_file())
    assert not any(str(seed) in written for seed in seeds)


def test_no_exact_figure_is_looked_at_or_written(tune, tmp_path):
    sites = LinearSites()
    found, _ = tune(sites, recipe_of(**PRIVATE))
    assert sites.measured == 0
    for path in (tmp_path / "out" / "trials").iterdir():
        trial = json.loads(path.read_text())
        assert trial["outcomes"] == []
        assert set(trial) == {"subject", "number", "values", "end", "reason", "figures", "on_the_way", "outcomes"}
    assert [order.evaluates for _, order in sites.asked if order.purpose == "evaluate"] == [True] * 9
    assert not any(order.evaluates for _, order in sites.asked if order.purpose == "train")
    assert all(trial.noise is not None for trial in found.trials)


@pytest.mark.slow
def test_values_are_drawn_without_a_look_at_figures(tune):
    one, _ = tune(LinearSites(), recipe_of(**PRIVATE), trials=14, out="one")
    other, _ = tune(LinearSites(spread=50.0), recipe_of(**PRIVATE), trials=14, out="other")
    assert [trial.values for trial in one.trials] == [trial.values for trial in other.trials]
    assert [trial.figure for trial in one.trials] != [trial.figure for trial in other.trials]


def test_the_noise_that_is_told_is_that_of_so_many_held_out_records(tune):
    recipe = recipe_of(**PRIVATE)
    found, _ = tune(LinearSites(), recipe, seeds=4, trials=2)
    of_sum = mechanism_of(recipe).heldout_plan(recipe).event.noise_multiplier * recipe.privacy.heldout_clip
    variance = sum((of_sum / units) ** 2 for units in HELDOUT.values()) / 9 / 4
    assert found.trials[0].noise == pytest.approx(variance**0.5)
