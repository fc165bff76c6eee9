"""The audit under every objective: canaries in its form are seen without noise, and not with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from objective_federation import SECTIONS, write_objective_federation
from sealora_client.audit.canaries import make_canaries
from sealora_client.audit.trial import Trial, run_trial
from sealora_client.data.load import load_data
from sealora_client.model.adapted import adapted_model
from sealora_common.entropy import SeededEntropy
from sealora_common.recipe import load_recipe

QUICK = (
    "rounds=2",
    "training.steps_per_round=1",
    "training.optimizer=sgd",
    "training.learning_rate=1.0",
    "training.micro_batch_size=32",
    "lora.rank=8",
    "data.max_tokens=40",
    "privacy.delta=1e-5",
)


def trial(directory: Path, base: Path, objective: str, *overrides: str) -> Trial:
    path = write_objective_federation(directory, base, objective, records=12)
    recipe = load_recipe(path, [*QUICK, *overrides])
    model = adapted_model(recipe)
    records = load_data(Path(recipe.sites.simulated["site-0"]), recipe, model).train
    return run_trial(
        model,
        recipe,
        make_canaries(64, records, model.tokenizer, recipe, SeededEntropy("canaries")),
        records,
        known=records,
        roster_size=3,
        server_step=lambda number, before, after: after,
        entropy=SeededEntropy("trial"),
    )


@pytest.mark.parametrize(
    "objective",
    [pytest.param(name, marks=() if name in ("dpo", "classification") else pytest.mark.slow) for name in SECTIONS],
)
def test_without_noise_who_was_there_is_seen_and_with_it_the_claim_stands(tiny_base, tmp_path, objective):
    bare = trial(tmp_path / "bare", tiny_base(), objective, "privacy.mechanism=none")
    assert next(found.roc.auc for found in bare.findings if found.adversary == "white-box") > 0.9
    assert bare.lower_bound > 1
    private = trial(tmp_path / "private", tiny_base(), objective, "privacy.epsilon=1")
    assert not private.refutes_claim
    assert private.lower_bound < bare.lower_bound
