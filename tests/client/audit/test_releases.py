from __future__ import annotations

import numpy as np
import pytest

from sealora_client.audit.attribution import _clipped
from sealora_client.audit.faults import applied
from sealora_client.audit.releases import release_round
from sealora_client.evaluation.heldout_loss import heldout_loss
from sealora_client.ledger import Rehearsal
from sealora_client.objective.causal import CausalLanguageModelling
from sealora_client.training.dp_sgd import train_round
from sealora_common.entropy import SeededEntropy
from sealora_common.privacy.plan import privacy_plan
from sealora_common.round.sum_grid import SumGrid

from lora_kinds import lora

DISTRIBUTED = ("privacy.mechanism=distributed", "sealing.ring_bits=24", "training.steps_per_round=1")
ROSTER = 7


def released(site, seed, roster_size=ROSTER, clip_norm=0.5):
    site.model.write(lora().initial(site.model.layout))
    return release_round(
        site.model,
        site.records,
        plan=privacy_plan(site.recipe, roster_size).training,
        recipe=site.recipe,
        round_number=1,
        clip_norm=clip_norm,
        entropy=SeededEntropy(seed),
    )


@pytest.mark.parametrize("mechanism", ["local", "none"])
def test_a_site_that_trains_by_itself_releases_its_change(tiny_site, mechanism):
    site = tiny_site("training.steps_per_round=2", privacy={"mechanism": mechanism})
    found = released(site, 3)
    plan = privacy_plan(site.recipe, ROSTER).training
    site.model.write(lora().initial(site.model.layout))
    trained = train_round(
        site.model,
        site.records,
        plan=plan,
        recipe=site.recipe,
        round_number=1,
        leave=Rehearsal(plan.event) if plan.protects else None,
        entropy=SeededEntropy(3),
        clip_norm=0.5,
    )
    np.testing.assert_array_equal(found.change, trained.values)
    assert found.change.any()


@pytest.mark.slow
def test_an_opened_sum_carries_the_noise_that_is_accounted_for(tiny_site):
    """Not one site's share of it, and not more: the honest survivors' together."""
    site = tiny_site(*DISTRIBUTED, "training.sample_rate=1e-9")
    grid = SumGrid.of(site.recipe, ROSTER)
    assert grid.honest_survivors > 1
    event = privacy_plan(site.recipe, ROSTER).training.event
    change = np.concatenate([released(site, seed).change for seed in range(8)])
    expected = site.recipe.training.sample_rate * len(site.records)
    std = event.noise_multiplier * 0.5 / expected
    assert len(change) > 5000
    assert abs(change.mean()) < 5 * std / np.sqrt(len(change))
    assert change.std() == pytest.approx(std, rel=5 / np.sqrt(2 * len(change)))


def test_an_opened_sum_is_downhill(tiny_site):
    """Without noise and with everybody drawn, it is the negated mean of the clipped gradients."""
    site = tiny_site(*DISTRIBUTED)
    with applied("noise off"):
        change = released(site, 0).change
    layout = lora().trained(site.model.layout, 1)
    site.model.write(lora().initial(site.model.layout))
    mean = sum(rows.double().sum(dim=0) for rows in _clipped(site.model, layout, site.records, site.recipe, 0.5))
    np.testing.assert_allclose(change, -mean.numpy() / len(site.records), atol=1e-4 * 0.5)
    before = heldout_loss(site.model, CausalLanguageModelling(), site.records, 32).mean
    site.model.write(layout.unflatten((0.1 * change / np.linalg.norm(change)).astype(np.float32)))
    assert heldout_loss(site.model, CausalLanguageModelling(), site.records, 32).mean < before


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("training.optimizer=adamw",), id="at the site", marks=pytest.mark.slow),
        pytest.param((*DISTRIBUTED, "sealing.weight_cap=100"), id="of the opened sum", marks=pytest.mark.slow),
    ],
)
def test_with_adaptive_clipping_the_noisy_share_of_unclipped_units_is_released_too(tiny_site, overrides):
    site = tiny_site(*overrides, "privacy.target_quantile=0.5", "privacy.epsilon=500")
    found = released(site, 1, clip_norm=1e6)
    assert found.unclipped == pytest.approx(1.0, abs=0.35)
    assert released(site, 1, clip_norm=1e-6).unclipped == pytest.approx(0.0, abs=0.35)
    assert found.change.shape == (lora().trained(site.model.layout, 1).size,)


def test_without_adaptive_clipping_nothing_is_said_of_it(tiny_site):
    assert released(tiny_site(*DISTRIBUTED), 1).unclipped is None
    assert released(tiny_site(), 1).unclipped is None
