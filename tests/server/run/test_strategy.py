from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi

from sealora_common.errors import RecipeError
from sealora_server.run.strategy import build_strategy, restore_strategy, strategy_state

from pure_sites import PureGrid, pure_federation, pure_recipe

KINDS = {
    "fedavg": (FedAvg, set()),
    "fedavgm": (FedAvgM, {"momentum"}),
    "fedadam": (FedAdam, {"m_t", "v_t"}),
    "fedyogi": (FedYogi, {"m_t", "v_t"}),
    "fedadagrad": (FedAdagrad, {"m_t", "v_t"}),
}
SIZE = 12


def one_round(strategy, recipe, number, current, mean):
    """A round in which the sites' mean is `mean`."""
    _, sites = pure_federation(recipe, 3)
    arrays = ArrayRecord({"adapter": Array(current)})
    (message, *_) = strategy.configure_train(number, arrays, ConfigRecord(), PureGrid(sites))
    content = RecordDict(
        {
            "arrays": ArrayRecord({"adapter": Array((current + mean).astype(np.float32))}),
            "metrics": MetricRecord({"num-examples": 1.0}),
        }
    )
    stepped, _ = strategy.aggregate_train(number, [Message(content, reply_to=message)])
    return stepped["adapter"].numpy().astype(np.float32)


@pytest.fixture
def means():
    return np.random.default_rng(5).normal(scale=0.1, size=(6, SIZE)).astype(np.float32)


@pytest.mark.parametrize("name", KINDS)
def test_the_recipe_s_optimiser_is_flower_s_strategy_of_that_name(name):
    strategy = build_strategy(pure_recipe(server={"optimizer": name}))
    assert type(strategy) is KINDS[name][0]


def test_the_recipe_s_numbers_reach_the_strategy():
    section = {"optimizer": "fedyogi", "learning_rate": 0.3, "momentum": 0.8, "beta_2": 0.95, "tau": 0.01}
    strategy = build_strategy(pure_recipe(server=section, sites={"minimum": 4}))
    assert (strategy.eta, strategy.beta_1, strategy.beta_2, strategy.tau) == (0.3, 0.8, 0.95, 0.01)
    assert (strategy.min_train_nodes, strategy.min_evaluate_nodes, strategy.min_available_nodes) == (4, 4, 4)


def test_fedavg_s_learning_rate_scales_the_step(means):
    recipe = pure_recipe(server={"optimizer": "fedavg", "learning_rate": 0.25})
    strategy = build_strategy(recipe)
    current = np.ones(SIZE, dtype=np.float32)
    for number, mean in enumerate(means, start=1):
        stepped = one_round(strategy, recipe, number, current, mean)
        np.testing.assert_allclose(stepped, current + 0.25 * mean, atol=1e-6)
        current = stepped


@pytest.mark.parametrize("name", KINDS)
def test_a_restored_strategy_goes_on_as_if_it_had_never_stopped(name, means):
    recipe = pure_recipe(server={"optimizer": name, "learning_rate": 0.1, "momentum": 0.9})
    whole, before = build_strategy(recipe), build_strategy(recipe)
    expected = current = np.ones(SIZE, dtype=np.float32)
    for number, mean in enumerate(means, start=1):
        expected = one_round(whole, recipe, number, expected, mean)
        current = one_round(before, recipe, number, current, mean)
        state = strategy_state(before)
        assert set(state) == KINDS[name][1]
        before = build_strategy(recipe)
        restore_strategy(before, {key: value.copy() for key, value in state.items()})
        np.testing.assert_array_equal(current, expected)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "fedavg"])
def test_without_its_state_the_strategy_would_go_on_otherwise(name, means):
    recipe = pure_recipe(server={"optimizer": name, "learning_rate": 0.1, "momentum": 0.9})
    whole = build_strategy(recipe)
    current = np.ones(SIZE, dtype=np.float32)
    for number, mean in enumerate(means[:3], start=1):
        current = one_round(whole, recipe, number, current, mean)
    forgetful = build_strategy(recipe)
    ahead = one_round(whole, recipe, 4, current, means[3])
    assert np.abs(one_round(forgetful, recipe, 4, current, means[3]) - ahead).max() > 1e-4


def test_a_fresh_strategy_has_no_state():
    for name in KINDS:
        assert strategy_state(build_strategy(pure_recipe(server={"optimizer": name}))) == {}


def test_alternating_halves_refuse_an_optimiser_with_a_memory():
    with pytest.raises(RecipeError, match=r"alternating works with server\.optimizer: fedavg only"):
        pure_recipe(server={"optimizer": "fedadam"}, lora={"aggregation": "alternating"})
