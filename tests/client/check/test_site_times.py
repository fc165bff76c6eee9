"""The time of a plan is that of a piece of the real work, measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sealora_client.check import site_times as site_times_module
from sealora_client.check.dry_run import try_round
from sealora_client.check.site_times import site_times
from sealora_client.check.workload import Workload
from sealora_client.ledger import Rehearsal
from sealora_client.model.adapted import adapted_model
from sealora_client.training.choice import training_of
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SystemEntropy
from sealora_common.privacy.plan import privacy_plan
from sealora_common.recipe import Recipe, load_recipe

from tiny_federation import PRIVATE, write_federation

Base = Callable[..., Path]
UNITS = {"site-0": 24, "site-1": 25, "site-2": 26}


class TickingClock:
    """A second passes from one look to the next."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def recipe(tiny_base: Base, tmp_path: Path) -> Recipe:
    training = {"sample_rate": 0.5, "steps_per_round": 2, "micro_batch_size": 8, "evaluate_every": 2}
    return load_recipe(write_federation(tmp_path, tiny_base(), rounds=3, privacy=PRIVATE, training=training))


def test_each_site_s_time_is_made_of_measured_pieces(recipe: Recipe) -> None:
    """Each piece takes a second by the clock: a micro-batch of 8, an evaluation's, and a step's noise."""
    times = site_times(recipe, UNITS, TickingClock())
    assert times is not None
    assert [each.site for each in times] == list(UNITS)
    for each, units in zip(times, UNITS.values(), strict=True):
        # All records are of one padded length: half of them are drawn, and half a micro-batch is dummies.
        step = (0.5 * units + 3.5) / 8 * 1.0 + 1.0
        assert each.step == pytest.approx(step)
        assert each.round == pytest.approx(2 * step + 1.0)
        # Before rounds 1 and 3, and after the last.
        assert each.run == pytest.approx(6 * step + 3 * 1.0)


def test_a_plan_s_step_takes_as_long_as_a_step_that_is_trained(recipe: Recipe) -> None:
    """By the real clock, with much room: this machine may be doing other things."""
    model = adapted_model(recipe)
    workload = Workload.read(Path(recipe.sites.simulated["site-2"]), recipe, model)
    plan = privacy_plan(recipe, 3).training
    training = training_of(recipe)
    ratios = []
    for _ in range(5):
        planned = try_round(recipe, model, workload, 3).step_seconds(recipe, workload)
        model.write(adapter_kind(recipe).initial(model.layout))
        started = time.perf_counter()
        training.train(
            model,
            workload.train,
            plan=plan,
            recipe=recipe,
            round_number=1,
            clip_norm=1.0,
            leave=Rehearsal(plan.event),
            entropy=SystemEntropy(),
        )
        ratios.append(planned / ((time.perf_counter() - started) / plan.steps))
    assert 0.1 < sorted(ratios)[2] < 10


def test_more_records_than_the_file_has_take_longer_in_their_proportion(recipe: Recipe) -> None:
    few, many = (site_times(recipe, {"site-0": count, "site-1": 9, "site-2": 9}, TickingClock()) for count in (24, 240))
    assert few is not None
    assert many is not None
    assert many[0].step - few[0].step == pytest.approx(0.5 * 216 / 8)
    assert many[1].step == few[1].step


def test_a_site_without_a_file_is_taken_to_be_like_the_first_that_has_one(recipe: Recipe) -> None:
    times = site_times(recipe, {"elsewhere": 24, "site-1": 24}, TickingClock())
    assert times is not None
    assert times[0].step == times[1].step


def test_without_a_file_or_the_model_there_is_no_time(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = recipe.model_copy(update={"sites": recipe.sites.model_copy(update={"simulated": {"a": "nowhere.jsonl"}})})
    assert site_times(bare, {"a": 24}) is None
    monkeypatch.setattr(site_times_module, "is_here", lambda section: False)
    assert site_times(recipe, UNITS) is None
