"""What a comparison computes of a federation is what the sealed federation comes to, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quick_cases import quick_cases
from sealora_client.simulated import SimulatedSites
from sealora_common.adapter import adapter_kind
from sealora_common.entropy import SEED_VARIABLE
from sealora_server.comparison.arms import arms_of
from sealora_server.comparison.unsealed_run import run_unsealed

from tiny_federation import adapter_of, history_of, recipe_of, run_inline, write_federation

EPSILON = {"epsilon": 1000.0, "delta": 1e-3}
CASES: dict[str, dict[str, Any]] = {
    "distributed": {
        "training": {"sample_rate": 0.5, "steps_per_round": 1, "schedule": "linear"},
        "sealing": {"ring_bits": 24, "weight_cap": 30},
        "privacy": {"mechanism": "distributed", "clip_norm": 0.5, "target_quantile": 0.5, **EPSILON},
        "server": {"optimizer": "fedadam", "learning_rate": 3e-2, "momentum": 0.5, "tau": 1e-8},
    },
    "local": {
        "training": {"sample_rate": 0.5, "steps_per_round": 2, "learning_rate": 2e-2, "schedule": "cosine"},
        "sealing": {"ring_bits": 16, "weight_cap": 30},
        "privacy": {"mechanism": "local", "clip_norm": 0.5, "target_quantile": 0.5, **EPSILON},
        "server": {"optimizer": "fedavgm", "l2_sp": 0.1},
    },
    "the best round of none": {
        "training": {"sample_rate": 1.0, "steps_per_round": 1, "optimizer": "sgd", "learning_rate": 40.0},
        "sealing": {"clip_range": 64.0, "weighting": "uniform"},
        "privacy": {"mechanism": "none"},
        "server": {"keep": "best", "early_stopping": {"patience": 1}},
    },
    "the best round of noisy figures": {
        "training": {"sample_rate": 0.5, "steps_per_round": 1, "learning_rate": 0.3},
        "privacy": {"mechanism": "local", "epsilon": 200.0, "delta": 1e-3},
        "server": {"keep": "best"},
    },
}


@pytest.mark.parametrize("case", quick_cases(CASES, "distributed", "the best round of none"))
def test_a_federation_s_arm_is_the_sealed_run_to_the_bit(tiny_base, tmp_path: Path, monkeypatch, case: str) -> None:
    path = write_federation(tmp_path, tiny_base(), rounds=3, lora={"dropout": 0.1}, **CASES[case])
    monkeypatch.setenv(SEED_VARIABLE, "7")
    run = run_inline(path, tmp_path / "run")
    monkeypatch.delenv(SEED_VARIABLE)
    recipe = recipe_of(run)
    sites = SimulatedSites.unsealed(recipe)
    arms = {arm.key: arm for arm in arms_of(recipe, {name: sites.units((name,)) for name in sites.names})}
    result = run_unsealed(sites, arms["federated"], 7)
    sealed = adapter_kind(recipe).shared(sites.layout).flatten(adapter_of(run))
    np.testing.assert_array_equal(result.adapter, sealed)
    told = [history_of(run, name)[-1]["heldout_loss"] for name in sites.names]
    if result.kept_round == result.rounds:
        assert [each.mean for each in sites.heldout(result.adapter)] == told
    else:
        assert "best" in case
    if case == "distributed":
        assert not np.array_equal(run_unsealed(sites, arms["federated"], 8).adapter, sealed)
