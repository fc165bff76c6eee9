"""What `learning.py` tells of a recipe is what the sealed federation learns by it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from sealora_client.data.load import load_data
from sealora_client.model.adapted import adapted_model

from tiny_federation import history_of, recipe_of, run_inline, write_federation

follow = runpy.run_path(str(Path(__file__).parent / "learning.py"))["follow"]
SGD = {"optimizer": "sgd", "learning_rate": 1.0, "sample_rate": 1.0, "steps_per_round": 1}
FEDADAM = {"optimizer": "fedadam", "learning_rate": 3e-2, "momentum": 0.5, "tau": 1e-8}
SECTIONS: dict[str, dict[str, Any]] = {
    "none": {
        "training": SGD,
        "sealing": {"clip_range": 4.0, "ring_bits": 28, "weight_cap": 100, "weight_floor": 0.01},
        "privacy": {"mechanism": "none"},
    },
    # Everybody is in every sample; the noise of the largest epsilon there is differs between the two.
    "distributed": {
        "training": {"sample_rate": 1.0, "steps_per_round": 1},
        "sealing": {"ring_bits": 28, "weight_cap": 100, "weight_floor": 0.01},
        "privacy": {"mechanism": "distributed", "epsilon": 1000.0, "delta": 1e-3, "clip_norm": 0.5},
    },
    "local": {
        "training": SGD,
        "sealing": {"ring_bits": 28, "weight_cap": 100, "weight_floor": 0.01},
        "privacy": {"mechanism": "local", "epsilon": 1000.0, "delta": 1e-3, "clip_norm": 0.5},
    },
}


@pytest.mark.parametrize(
    "mechanism", ["none", *(pytest.param(name, marks=pytest.mark.slow) for name in ("local", "distributed"))]
)
def test_it_learns_what_a_sealed_run_learns(tiny_base, tmp_path: Path, mechanism: str) -> None:
    path = write_federation(
        tmp_path, tiny_base(), rounds=3, adapter="core", core={"rank": 4}, server=FEDADAM, **SECTIONS[mechanism]
    )
    run = run_inline(path, tmp_path / "run")
    recipe, model = recipe_of(run), adapted_model(recipe_of(run))
    sites = [load_data(Path(data), recipe, model) for _, data in sorted(recipe.sites.simulated.items())]
    course = follow(recipe, model, sites, seed=1)
    told = [history_of(run, name)[place]["heldout_loss"] for place in (0, -1) for name in recipe.sites.simulated]
    before, after = sum(told[:3]) / 3, sum(told[3:]) / 3
    assert course.before == pytest.approx(before, abs=1e-6)
    assert course.after == pytest.approx(after, abs=2e-3 if mechanism == "none" else 0.05)
    assert before - after > 1.0
