"""The same recipe and seed give the same adapter; without the seed nobody can repeat a run."""

from __future__ import annotations

import numpy as np
import pytest

from quick_cases import quick_cases
from sealora_client.training.local import LocalTraining
from sealora_common.adapter import adapter_kind

from lora_kinds import lora
from tiny_federation import PRIVATE, adapter_bytes, adapter_of, events_of, recipe_of, run_inline, write_federation

pytestmark = pytest.mark.filterwarnings("ignore:SEALORA_INSECURE_SEED")


@pytest.fixture
def federation(tiny_base, tmp_path):
    def make(**sections):
        return write_federation(tmp_path, tiny_base(), **({"privacy": PRIVATE} | sections))

    return make


def test_the_same_recipe_and_seed_give_the_same_adapter_bit_for_bit(federation, tmp_path, monkeypatch):
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "7")
    recipe = federation()
    assert adapter_bytes(run_inline(recipe, tmp_path / "a")) == adapter_bytes(run_inline(recipe, tmp_path / "b"))
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "8")
    assert adapter_bytes(run_inline(recipe, tmp_path / "c")) != adapter_bytes(tmp_path / "a")
    (started,) = events_of(tmp_path / "a", "run_started")
    assert started.insecure


@pytest.mark.slow
def test_without_the_seed_no_run_is_like_another(federation, tmp_path, monkeypatch):
    monkeypatch.delenv("SEALORA_INSECURE_SEED", raising=False)
    recipe = federation(rounds=1)
    assert adapter_bytes(run_inline(recipe, tmp_path / "a")) != adapter_bytes(run_inline(recipe, tmp_path / "b"))
    (started,) = events_of(tmp_path / "a", "run_started")
    assert not started.insecure


@pytest.mark.parametrize("aggregation", quick_cases(["ffa", "alternating", "average"], "alternating"))
def test_each_way_to_aggregate_trains_the_halves_it_says(federation, tmp_path, aggregation):
    run = run_inline(federation(lora={"aggregation": aggregation}, rounds=2), tmp_path / "run")
    rounds = [None, adapter_of(run, 1), adapter_of(run, 2)]
    layout_names = rounds[1]
    recipe = recipe_of(run)
    from sealora_client.model.adapted import adapted_model

    rounds[0] = adapter_kind(recipe).initial(adapted_model(recipe).layout)
    for round_number in (1, 2):
        for name in layout_names:
            moved = not np.array_equal(rounds[round_number - 1][name], rounds[round_number][name])
            is_a = name.endswith("lora_A.weight")
            trained = {"ffa": not is_a, "alternating": is_a == (round_number == 2), "average": True}[aggregation]
            assert moved == trained, (round_number, name)
    assert adapter_of(run).keys() == rounds[0].keys()


@pytest.mark.parametrize("aggregation", quick_cases(["ffa", "alternating"], "ffa"))
def test_the_product_of_the_mean_is_the_mean_of_the_products(federation, tmp_path, monkeypatch, aggregation):
    """What FFA and alternating are for: the adapter's effect is averaged, not only its factors."""
    from sealora_client.model.adapted import adapted_model

    deltas = []
    train = LocalTraining.train

    def spied(*arguments, **rest):
        trained = train(*arguments, **rest)
        deltas.append((rest["round_number"], trained.values))
        return trained

    monkeypatch.setattr(LocalTraining, "train", spied)
    sealing = {"weighting": "uniform", "ring_bits": 24}
    run = run_inline(federation(lora={"aggregation": aggregation}, sealing=sealing, rounds=2), tmp_path / "run")
    layout = adapted_model(recipe_of(run)).layout
    trained = lora(aggregation).trained(layout, 2)
    start, after = adapter_of(run, 1), adapter_of(run, 2)
    name_a = next(name for name in layout.names if name.endswith("lora_A.weight"))
    name_b = name_a.replace("lora_A", "lora_B")
    products = []
    for round_number, delta in deltas:
        if round_number == 2:
            own = start | {name: start[name] + change for name, change in trained.unflatten(delta).items()}
            products.append(own[name_b].astype(np.float64) @ own[name_a])
    assert len(products) == 3
    mean = np.mean(products, axis=0)
    np.testing.assert_allclose(after[name_b].astype(np.float64) @ after[name_a], mean, atol=1e-6)
    assert np.abs(mean).max() > 1e-4


@pytest.mark.slow
def test_sites_that_seal_with_fewer_bits_agree_on_nearly_the_same_adapter(federation, tmp_path, monkeypatch):
    monkeypatch.setenv("SEALORA_INSECURE_SEED", "7")
    fine = adapter_of(run_inline(federation(sealing={"ring_bits": 32}, rounds=1), tmp_path / "fine"))
    coarse = adapter_of(run_inline(federation(sealing={"ring_bits": 13}, rounds=1), tmp_path / "coarse"))
    differences = [np.abs(fine[name] - coarse[name]).max() for name in fine]
    assert 1e-7 < max(differences) < 5e-3
