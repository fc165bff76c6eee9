"""Whole federations in which each kind of adapter is trained, sealed and published."""

from __future__ import annotations

import numpy as np
import pytest

from sealora_client.model.adapted import adapted_model
from sealora_common.adapter import adapter_kind

from adapter_kinds import KINDS, ON_ONE_BASE
from tiny_federation import PRIVATE, adapter_of, recipe_of, run_inline, training_charges, write_federation

DISTRIBUTED = {"privacy": {**PRIVATE, "mechanism": "distributed"}, "sealing": {"ring_bits": 24, "weight_cap": 100}}
OPTIMIZERS = {
    "local": {"privacy": PRIVATE},
    "distributed": DISTRIBUTED | {"server": {"optimizer": "fedadam", "learning_rate": 1e-2, "tau": 1e-8}},
}


QUICK = {("layer_norm", "local"), ("prompt_tuning", "distributed")}
"""The others are marked slow: each run takes some seconds."""
RUNS = [
    pytest.param(kind, base, mechanism, marks=() if (kind, mechanism) in QUICK else pytest.mark.slow)
    for kind, base in ON_ONE_BASE
    for mechanism in OPTIMIZERS
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "base", "mechanism"), RUNS)
def test_a_run_trains_the_shared_part_and_leaves_the_rest_as_it_began(tiny_base, tmp_path, kind, base, mechanism):
    recipe_file = write_federation(tmp_path, tiny_base(base), rounds=2, **OPTIMIZERS[mechanism], **KINDS[kind])
    run = run_inline(recipe_file, tmp_path / "run")
    recipe = recipe_of(run)
    layout = adapted_model(recipe).layout
    initial, final = adapter_kind(recipe).initial(layout), adapter_of(run)
    shared = adapter_kind(recipe).shared(layout).names
    moved = {name for name in layout.names if not np.array_equal(initial[name], adapter_of(run, 2)[name])}
    folded = {name for name in layout.names if "lora_B" in name} if kind == "core" else set()
    assert moved == set(shared) | folded
    assert all(np.isfinite(value).all() for value in final.values())
    assert len(training_charges(run, "site-0")) == 2
