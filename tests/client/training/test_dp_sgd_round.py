"""A round at a site on tiny models: what is trained, under which leave, and what is told of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.evaluation.heldout_loss import heldout_loss
from sealora_client.ledger import Charge, Leave, Rehearsal
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.training import dp_sgd
from sealora_client.training.dp_sgd import train_round
from sealora_client.training.round_training import TrainedRound
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import Entropy, SeededEntropy
from sealora_common.errors import BudgetError, DataError
from sealora_common.privacy.accounting import PrivacyEvent
from sealora_common.privacy.mechanisms.local import LOCAL_GRID_STEPS
from sealora_common.privacy.plan import privacy_plan
from sealora_common.privacy.releases import TrainingPlan
from sealora_common.recipe.schema import Recipe

from dp_sgd_runs import SGD, rehearsal, train
from lora_kinds import lora
from single_examples import load, plan_for, recipe_for, some_examples

pytestmark = pytest.mark.usefixtures("fresh_adapter")


def test_the_delta_is_what_changed_in_the_model(model: AdaptedModel, base: Path) -> None:
    before = model.read(model.layout.names)
    trained = train(model, recipe_for(base), some_examples(12))
    after = model.read(model.layout.names)
    layout = lora().trained(model.layout, 1)
    assert trained.values.dtype == np.float32
    assert np.array_equal(trained.values, layout.flatten(after) - layout.flatten(before))
    assert all(np.array_equal(before[name], after[name]) for name in before if name not in layout.names)


@pytest.mark.parametrize(
    ("aggregation", "round_number", "halves"),
    [("ffa", 1, "B"), ("ffa", 2, "B"), ("alternating", 1, "B"), ("alternating", 2, "A"), ("average", 1, "AB")],
)
def test_the_aggregation_decides_which_half_is_trained(
    model: AdaptedModel, base: Path, aggregation: str, round_number: int, halves: str
) -> None:
    recipe = recipe_for(base, lora={"aggregation": aggregation})
    before = model.read(model.layout.names)
    trained = train(model, recipe, some_examples(12), round_number=round_number)
    after = model.read(model.layout.names)
    for spec in model.layout.tensors:
        moved = not np.array_equal(before[spec.name], after[spec.name])
        assert moved == (("A" if ".lora_A." in spec.name else "B") in halves)
    assert trained.values.size == adapter_kind(recipe).trained(model.layout, round_number).size


def test_without_a_mechanism_nothing_is_clipped_and_the_loss_falls(model: AdaptedModel, base: Path) -> None:
    training = {"steps_per_round": 30, "sample_rate": 0.8, "micro_batch_size": 16}
    recipe = recipe_for(base, privacy={"mechanism": "none", "clip_norm": 1e-9}, training=training)
    population = Population.of(some_examples(12))
    before = heldout_loss(model, CausalLanguageModelling(), population, 4).mean
    trained = train(model, recipe, population, noise=0.0)
    assert trained.figures.clipped == 0
    assert heldout_loss(model, CausalLanguageModelling(), population, 4).mean < 0.7 * before


def train_with(
    model: AdaptedModel, recipe: Recipe, leave: Leave | None, plan: TrainingPlan | None = None
) -> TrainedRound:
    population = Population.of(some_examples(3))
    plan = plan_for(recipe) if plan is None else plan
    entropy = SeededEntropy("s")
    return train_round(model, population, plan=plan, recipe=recipe, leave=leave, round_number=1, entropy=entropy)


def test_a_leave_that_does_not_fit_the_mechanism_is_refused(model: AdaptedModel, base: Path) -> None:
    none = recipe_for(base, privacy={"mechanism": "none"})
    private = recipe_for(base)
    shared = recipe_for(base, privacy={"mechanism": "distributed"}, training=SGD, sealing={"ring_bits": 24})
    usual, loud, sealed = plan_for(private), plan_for(private, 1e6), privacy_plan(shared, 3).training
    cases = [
        (none, plan_for(none), rehearsal(usual), "must not be paid for"),
        (private, usual, None, "must be paid for first"),
        (shared, sealed, rehearsal(sealed), "trains no delta"),
        (private, usual, Rehearsal(replace(usual.event, noise_multiplier=0.0)), "noise_multiplier is 0"),
        (private, loud, rehearsal(loud), "more than .* cannot be drawn"),
    ]
    for recipe, plan, leave, said in cases:
        with pytest.raises(BudgetError, match=said):
            train_with(model, recipe, leave, plan)


def test_only_what_was_paid_for_is_trained(model: AdaptedModel, base: Path) -> None:
    """Fewer steps, a lower rate, another round or delta: each charge pays for itself and for nothing else."""
    recipe = recipe_for(base)
    training, delta = recipe.training, recipe.privacy.delta
    due = PrivacyEvent(1.0, training.sample_rate, training.steps_per_round)
    paid = Charge(1, "00" * 32, "run", 1, "dataset", due, delta, 1.0)
    train_with(model, recipe, paid)
    wrong = [
        replace(paid, event=replace(due, steps=due.steps - 1)),
        replace(paid, event=replace(due, sample_rate=due.sample_rate / 2)),
        replace(paid, event=PrivacyEvent(1.0, due.sample_rate, due.steps, "skellam", 4096)),
        replace(paid, event=replace(due, noise_multiplier=0.0)),
        replace(paid, event=replace(due, noise_multiplier=1.0001)),
        replace(paid, round_number=2),
        replace(paid, delta=delta / 2),
    ]
    for charge in wrong:
        with pytest.raises(BudgetError):
            train_with(model, recipe, charge)


def test_the_noise_is_what_was_paid_for_and_no_argument(model: AdaptedModel, base: Path, monkeypatch) -> None:
    drawn: list[float] = []

    def watched(entropy: Entropy, size: int, std: float) -> NDArray[np.int64]:
        drawn.append(std / LOCAL_GRID_STEPS)
        return np.zeros(size, dtype=np.int64)

    monkeypatch.setattr(dp_sgd, "rounded_gaussian", watched)
    recipe = recipe_for(base)
    plan = plan_for(recipe, 1.375)
    train_with(model, recipe, Charge(1, "00" * 32, "run", 1, "dataset", plan.event, recipe.privacy.delta, 1.0), plan)
    assert drawn == [1.375] * recipe.training.steps_per_round


def test_no_records_are_refused(model: AdaptedModel, base: Path) -> None:
    with pytest.raises(DataError, match="no training records"):
        train(model, recipe_for(base), [])


def test_the_proximal_term_pulls_towards_the_start(model: AdaptedModel, base: Path) -> None:
    norms = []
    for mu in (0.0, 5.0):
        settings = {"optimizer": "sgd", "learning_rate": 0.1, "steps_per_round": 6, "proximal_mu": mu}
        norms.append(np.linalg.norm(train(model, recipe_for(base, training=settings), some_examples(12)).values))
    assert norms[1] < 0.9 * norms[0]


def test_every_round_starts_its_optimiser_afresh(model: AdaptedModel, base: Path) -> None:
    recipe = recipe_for(base)
    first = train(model, recipe, some_examples(12)).values
    train(model, recipe, some_examples(12, seed=1))
    assert np.array_equal(train(model, recipe, some_examples(12)).values, first)


def test_figures_count_what_happened(model: AdaptedModel, base: Path) -> None:
    training = {"sample_rate": 1.0, "steps_per_round": 2}
    recipe = recipe_for(base, training=training, privacy={"clip_norm": 1e-6})
    steps: list[tuple[int, int]] = []
    trained = train(model, recipe, some_examples(7), on_step=lambda done, of: steps.append((done, of)))
    assert steps == [(1, 2), (2, 2)]
    assert (trained.figures.examples, trained.figures.non_finite, trained.figures.clipped_fraction) == (14, 0, 1.0)


def test_diverged_weights_are_sent_as_unchanged_and_said_at_the_site(
    model: AdaptedModel, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether they diverge can depend on a record, and whether a site answers may not."""
    training = {"optimizer": "sgd", "learning_rate": 1e38, "steps_per_round": 1}
    recipe = recipe_for(base, training=training, privacy={"clip_norm": 1e9})
    trained = train(model, recipe, some_examples(5))
    assert np.isfinite(trained.values).all()
    assert re.search(r"round 1: \d+ of \d+ adapter weights diverged.* lower training\.learning_rate", caplog.text)


def test_an_adapter_that_does_not_move_is_flagged(
    model: AdaptedModel, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = recipe_for(base, training={"optimizer": "sgd", "learning_rate": 1e-40})
    assert not train(model, recipe, some_examples(5)).moved
    assert "did not change the adapter" in caplog.text


def test_eight_bit_moments_fall_back_on_a_cpu(
    model: AdaptedModel, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if torch.cuda.is_available():
        pytest.skip("CUDA has the 8-bit optimiser")
    plain = train(model, recipe_for(base), some_examples(5)).values
    recipe = recipe_for(base, training={"optimizer": "paged_adamw_8bit"})
    assert np.array_equal(train(model, recipe, some_examples(5)).values, plain)
    assert "needs CUDA; using adamw" in caplog.text


def test_an_evaluation_between_rounds_does_not_change_four_bit_training(base: Path) -> None:
    settings = {"quantization": "nf4", "compute_dtype": "bfloat16"}
    recipe = recipe_for(base, model=settings)
    four_bit = load(base, model=settings)
    before = train(four_bit, recipe, some_examples(12)).values
    heldout_loss(four_bit, CausalLanguageModelling(), Population.of(some_examples(12)), 4)
    assert np.array_equal(train(four_bit, recipe, some_examples(12)).values, before)
