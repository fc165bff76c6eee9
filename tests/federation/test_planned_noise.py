"""What `sealora plan` says of noise and bytes is what a run draws and sends: whole runs, in this process."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quick_cases import quick_cases
from sealora_common.privacy.noise_law import outlook, step_noise
from sealora_common.round.contribution import ContributionLayout
from sealora_server.view.summary import summarize

from tiny_federation import PRIVATE, recipe_of, run_inline, write_federation

UNITS = (24, 25, 26)
ONE_STEP = {  # of plain gradient descent at rate 1, so that what is opened is the mean gradient
    "local": {
        "training": {"optimizer": "sgd", "learning_rate": 1.0, "steps_per_round": 1},
        "sealing": {"ring_bits": 32, "clip_range": 64.0},
    },
    "distributed": {"sealing": {"ring_bits": 28}},
}


@pytest.fixture
def opened(monkeypatch):
    """What came out of each sum, in runs whose gradients are all zero."""
    from sealora_client.training.gradients.per_example import PerExampleGradients

    found, decode = [], ContributionLayout.decode

    def spied(self, sums):
        found.append(decode(self, sums))
        return found[-1]

    def nothing(self, accumulator, clip_norm, units, **rest):
        return self.sum_(accumulator.clone())

    monkeypatch.setattr(ContributionLayout, "decode", spied)
    monkeypatch.setattr(PerExampleGradients, "truncated_sum_", nothing)
    return found


@pytest.mark.parametrize("weight_cap", quick_cases([100, 2000], 2000))  # weights of their own, and the floor for all
@pytest.mark.parametrize("mechanism", ONE_STEP)
def test_the_planned_noise_is_that_of_the_opened_mean(tiny_base, tmp_path, opened, mechanism, weight_cap):
    sections = {name: dict(section) for name, section in ONE_STEP[mechanism].items()}
    sections["sealing"]["weight_cap"] = weight_cap
    sections["privacy"] = {**PRIVATE, "mechanism": mechanism, "clip_norm": 0.5}
    recipe = write_federation(tmp_path, tiny_base(), rounds=1, lora={"rank": 32}, **sections)
    run = run_inline(recipe, tmp_path / "run")
    noise = opened[0].mean_delta
    wanted = step_noise(recipe_of(run), UNITS).noise * 0.5
    assert len(noise) > 4000
    assert noise.std() == pytest.approx(wanted, rel=6 / math.sqrt(2 * len(noise)))
    assert abs(noise.mean()) < 6 * wanted / math.sqrt(len(noise))
    norm = outlook(recipe_of(run), UNITS, "abc", len(noise)).noise_norm * 0.5
    assert np.linalg.norm(noise) == pytest.approx(norm, rel=6 / math.sqrt(2 * len(noise)))


@pytest.mark.parametrize("mechanism", quick_cases(ONE_STEP, "distributed"))
def test_the_planned_bytes_are_those_of_the_vectors_that_a_site_masks(tiny_base, tmp_path, monkeypatch, mechanism):
    sizes: list[int] = []
    encode = ContributionLayout.encode

    def spied(self, contribution, entropy):
        vector = encode(self, contribution, entropy)
        sizes.append(len(vector.pack()))
        return vector

    monkeypatch.setattr(ContributionLayout, "encode", spied)
    sections = {**ONE_STEP[mechanism], "privacy": {**PRIVATE, "mechanism": mechanism}}
    sections["training"] = {**sections.get("training", {}), "evaluate_every": 2}
    run = run_inline(write_federation(tmp_path, tiny_base(), rounds=2, **sections), tmp_path / "run")
    from sealora_client.model.outline import outlined_layout

    recipe = recipe_of(run)
    planned = outlook(recipe, UNITS, "abc", outlined_layout(recipe)).uplink_bytes
    assert planned == sum(sizes) / 3
    # Keys, shares and signatures come on top, which for so small an adapter are the most.
    assert all(planned < site.bytes_up < planned + 200_000 for site in summarize(run).sites)
