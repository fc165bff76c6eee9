"""Whole runs with distributed noise, with persons and with adaptive clipping, in this process."""

from __future__ import annotations

import numpy as np
import pytest

from quick_cases import quick_cases
from sealora_client.ledger import Ledger
from sealora_client.site.directory import open_site
from sealora_common.privacy.accounting import epsilon_pld
from sealora_common.privacy.plan import privacy_plan
from sealora_common.round.contribution import ContributionLayout
from sealora_common.round.sum_grid import SumGrid
from sealora_server.run.store import RunStore

from tiny_federation import PRIVATE, adapter_of, history_of, recipe_of, run_inline, training_charges, write_federation

SITES = ("site-0", "site-1", "site-2")
DISTRIBUTED = {
    "privacy": {**PRIVATE, "mechanism": "distributed"},
    "sealing": {"ring_bits": 24, "weight_cap": 100},
    "server": {"optimizer": "fedadam", "learning_rate": 1e-2, "tau": 1e-8},
}


@pytest.fixture
def watched(monkeypatch):
    """What sites put into the sums, and what came out of them."""
    put, opened = [], []
    encode, decode = ContributionLayout.encode, ContributionLayout.decode

    def spied_encode(self, contribution, entropy):
        if self.parameters:
            put.append((self, contribution))
        return encode(self, contribution, entropy)

    def spied_decode(self, sums):
        opened.append(decode(self, sums))
        return opened[-1]

    monkeypatch.setattr(ContributionLayout, "encode", spied_encode)
    monkeypatch.setattr(ContributionLayout, "decode", spied_decode)
    return put, opened


def test_the_opened_mean_is_that_of_the_sites_integers_to_the_last_bit(tiny_base, tmp_path, watched):
    run = run_inline(write_federation(tmp_path, tiny_base(), rounds=1, **DISTRIBUTED), tmp_path / "run")
    put, opened = watched
    recipe = recipe_of(run)
    units = SumGrid.of(recipe, 3).grid_steps
    total = sum(contribution.values for _, contribution in put)
    expected_batch = recipe.training.sample_rate * (24 + 25 + 26)
    np.testing.assert_allclose(opened[0].mean_delta, -total / units / expected_batch, rtol=1e-6)
    assert all(contribution.values.dtype == np.int64 for _, contribution in put)
    moved = [name for name, value in adapter_of(run).items() if "lora_B" in name and value.any()]
    assert moved


def test_every_site_is_charged_for_the_sum_s_skellam_noise(tiny_base, tmp_path):
    run = run_inline(write_federation(tmp_path, tiny_base(), rounds=2, **DISTRIBUTED), tmp_path / "run")
    mechanism = privacy_plan(recipe_of(run), 3).training.event
    assert mechanism.noise == "skellam"
    for site in SITES:
        assert [row.event for row in training_charges(run, site)] == [mechanism] * 2
        assert history_of(run, site)[1]["epsilon"] == pytest.approx(epsilon_pld([mechanism] * 2, PRIVATE["delta"]))
        assert history_of(run, site)[1]["epsilon"] <= PRIVATE["epsilon"]


def test_the_sum_carries_the_noise_of_two_of_three_sites_and_a_half_more(tiny_base, tmp_path, watched, monkeypatch):
    """With no gradient at all, what is opened is the noise: three shares, of which two make it full."""
    from sealora_client.training.gradients.per_example import PerExampleGradients

    def nothing(self, accumulator, clip_norm, units, **rest):
        return self.sum_(accumulator.clone())

    monkeypatch.setattr(PerExampleGradients, "truncated_sum_", nothing)
    run = run_inline(write_federation(tmp_path, tiny_base(), rounds=1, **DISTRIBUTED), tmp_path / "run")
    put, _ = watched
    recipe = recipe_of(run)
    grid, mechanism = SumGrid.of(recipe, 3), privacy_plan(recipe, 3).training.event
    total = sum(contribution.values.astype(np.float64) for _, contribution in put)
    wanted = mechanism.noise_multiplier * grid.grid_steps * np.sqrt(3 / 2)
    assert total.std() == pytest.approx(wanted, rel=6 / np.sqrt(2 * len(total)))
    assert abs(total.mean()) < 6 * wanted / np.sqrt(len(total))


@pytest.mark.parametrize("mechanism", quick_cases(["local", "distributed"], "distributed"))
def test_the_clipping_norm_follows_the_noisy_votes(tiny_base, tmp_path, mechanism):
    """Nearly every gradient of this model is longer than the first norm, so it must grow; every site was told so."""
    sections = {**DISTRIBUTED, "privacy": {**PRIVATE, "mechanism": mechanism, "epsilon": 100.0}}
    sections["privacy"] |= {"target_quantile": 0.5, "clip_norm": 1e-3}
    run = run_inline(write_federation(tmp_path, tiny_base(), rounds=3, **sections), tmp_path / "run")
    records = [RunStore.open(run).record(number) for number in (1, 2, 3)]
    norms = [1e-3, *(record.next_clip_norm for record in records)]
    assert norms[1] > norms[0]
    assert norms[3] > 1.05 * norms[0]
    assert [line["clip_norm"] for line in history_of(run, "site-0") if line["kind"] == "train"] == norms[:3]


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["local", "distributed"])
def test_persons_are_the_unit_when_the_recipe_names_a_field(tiny_base, tmp_path, mechanism):
    sections = {**DISTRIBUTED, "privacy": {**PRIVATE, "mechanism": mechanism}, "data": {"person_field": "patient"}}
    run = run_inline(write_federation(tmp_path, tiny_base(), rounds=1, **sections), tmp_path / "run")
    line = history_of(run, "site-0")[0]
    assert (line["records"], line["persons"], line["heldout_persons"]) == (24, 6, 1)
    with Ledger(run / "sites" / "site-0" / "ledger.sqlite") as ledger:
        assert {row.unit for row in ledger.datasets()} == {"person"}
        assert [row.size for row in ledger.datasets()] == [1, 6]


def test_a_recipe_with_distributed_noise_is_refused_by_a_site_that_accepts_local_alone(tiny_base, tmp_path):
    from sealora_common.errors import PolicyError

    run = run_inline(write_federation(tmp_path, tiny_base(), rounds=1, **DISTRIBUTED), tmp_path / "run")
    policy = run / "sites" / "site-0" / "policy.yaml"
    policy.write_text(policy.read_text() + "mechanisms: [local]\n")
    with pytest.raises(PolicyError, match=r"mechanisms.*distributed"):
        open_site(policy.parent)
