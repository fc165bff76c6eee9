"""What a strategy is shown of a round: the nodes to choose from, and one reply from nobody in particular."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity
from transformers import get_scheduler

from sealora_server.run import server_optimizer
from sealora_server.run.server_optimizer import ServerOptimizer

from pure_sites import pure_recipe

NODES = (11, 12, 13)
ADAPTER = np.arange(4, dtype=np.float32)


@pytest.fixture(autouse=True)
def flower_task():
    """Flower stamps every message with the task of the process."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1


class Watched(FedAvg):
    """Keeps what it is shown."""

    def __init__(self):
        super().__init__(min_train_nodes=3, min_evaluate_nodes=3, min_available_nodes=3)
        self.seen = {}

    def configure_train(self, server_round, arrays, config, grid):
        self.seen["grid"] = grid
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        self.seen["train"] = list(replies)
        return super().aggregate_train(server_round, replies)

    def aggregate_evaluate(self, server_round, replies):
        self.seen["evaluate"] = list(replies)
        return super().aggregate_evaluate(server_round, replies)


@pytest.fixture
def watched(monkeypatch):
    strategy = Watched()
    monkeypatch.setattr(server_optimizer, "build_strategy", lambda recipe: strategy)
    return strategy


def test_the_strategy_gets_one_reply_from_nobody_in_particular(watched):
    optimizer = ServerOptimizer(pure_recipe())
    assert sorted(optimizer.chosen("train", 1, ADAPTER, NODES)) == list(NODES)
    np.testing.assert_array_equal(optimizer.step(1, ADAPTER + 1, 2.5), ADAPTER + 1)
    (reply,) = watched.seen["train"]
    assert reply.metadata.src_node_id not in NODES
    assert {name: dict(record) for name, record in reply.content.metric_records.items()} == {
        "metrics": {"num-examples": 1.0, "heldout-loss": 2.5}
    }
    assert set(reply.content.array_records) == {"arrays"}


def test_of_an_evaluation_it_gets_the_loss_and_no_arrays(watched):
    optimizer = ServerOptimizer(pure_recipe())
    assert sorted(optimizer.chosen("evaluate", 4, ADAPTER, NODES)) == list(NODES)
    optimizer.evaluated(4, 3.0)
    (reply,) = watched.seen["evaluate"]
    assert not reply.content.array_records
    assert reply.content["metrics"]["heldout-loss"] == 3.0


def test_a_loss_that_was_not_told_is_no_metric(watched):
    optimizer = ServerOptimizer(pure_recipe())
    optimizer.chosen("train", 1, ADAPTER, NODES)
    optimizer.step(1, ADAPTER)
    assert "heldout-loss" not in watched.seen["train"][0].content["metrics"]


def test_nothing_goes_past_the_seal(watched):
    ServerOptimizer(pure_recipe()).chosen("train", 1, ADAPTER, NODES)
    grid = watched.seen["grid"]
    for attempt in (
        lambda: grid.push_messages([]),
        lambda: grid.pull_messages([]),
        lambda: grid.send_and_receive([]),
        lambda: grid.create_message(RecordDict({"config": ConfigRecord()}), "train", 11, ""),
        lambda: grid.run,
    ):
        with pytest.raises(NotImplementedError, match="reaches no site"):
            attempt()


@pytest.mark.parametrize("optimizer", ["fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_one_that_was_resumed_steps_as_if_it_had_not_been(optimizer):
    recipe = pure_recipe(server={"optimizer": optimizer, "learning_rate": 0.1})
    whole = ServerOptimizer(recipe)
    whole.chosen("train", 1, ADAPTER, NODES)
    first = whole.step(1, ADAPTER + 1)
    resumed = ServerOptimizer(recipe, whole.state)
    for each in (whole, resumed):
        each.chosen("train", 2, first, NODES)
    np.testing.assert_array_equal(resumed.step(2, first + 1), whole.step(2, first + 1))


def steps_of(rounds, **sections):
    """The adapter after each of so many rounds, in each of which the sites' mean is 1 everywhere."""
    recipe = pure_recipe(rounds=rounds, sealing={"clip_range": "auto"}, **sections)
    optimizer, adapter, found = ServerOptimizer(recipe), np.zeros(2, dtype=np.float32), []
    for number in range(1, rounds + 1):
        optimizer.chosen("train", number, adapter, NODES)
        adapter = optimizer.step(number, adapter + 1)
        found.append(float(adapter[0]))
    return found


@pytest.mark.parametrize("rate", [1.0, 0.5])
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_the_server_s_steps_go_with_the_schedule_as_torch_s_do(rate, momentum):
    server = {"learning_rate": rate} | ({} if momentum is None else {"optimizer": "fedavgm", "momentum": momentum})
    training = {"steps_per_round": 1, "schedule": "linear"}
    found = steps_of(4, privacy={"mechanism": "distributed"}, training=training, server=server)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=rate, momentum=momentum or 0.0)
    schedule = get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=4)
    expected = []
    for _ in range(4):
        weight.grad = -torch.ones(1)
        optimizer.step()
        schedule.step()
        expected.append(weight.item())
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["fedadam", "fedyogi", "fedadagrad"])
def test_an_adaptive_step_is_scaled_by_the_schedule_and_its_moments_are_not(optimizer):
    settings = {"privacy": {"mechanism": "distributed"}, "server": {"optimizer": optimizer, "learning_rate": 0.1}}
    constant, linear = (
        np.diff(steps_of(4, training={"steps_per_round": 1, "schedule": schedule}, **settings), prepend=0.0)
        for schedule in ("constant", "linear")
    )
    np.testing.assert_allclose(linear, constant * [1.0, 0.75, 0.5, 0.25], rtol=1e-5)


def test_where_sites_step_the_server_s_rate_stays():
    training = {"steps_per_round": 1, "schedule": "linear"}
    assert steps_of(3, privacy={"mechanism": "none"}, training=training) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_l2_sp_is_the_gradient_of_its_penalty_as_torch_has_it(momentum):
    server = {"l2_sp": 0.3} | ({} if momentum is None else {"optimizer": "fedavgm", "momentum": momentum})
    recipe = pure_recipe(rounds=4, server=server)
    optimizer, adapter, found = ServerOptimizer(recipe, start=ADAPTER), ADAPTER + 2, []
    for number in range(1, 5):
        optimizer.chosen("train", number, adapter, NODES)
        adapter = optimizer.step(number, adapter + 1)
        found.append(adapter)
    start = torch.from_numpy(ADAPTER)
    weight = torch.nn.Parameter(start + 2)
    sgd = torch.optim.SGD([weight], lr=1.0, momentum=momentum or 0.0)
    for each in found:
        sgd.zero_grad()
        (0.3 / 2 * (weight - start).square().sum() - weight.sum()).backward()
        sgd.step()
        np.testing.assert_allclose(each, weight.detach().numpy(), rtol=1e-5)


def test_a_resumed_run_is_pulled_to_where_it_began_and_not_to_where_it_was_resumed():
    recipe = pure_recipe(server={"l2_sp": 0.5})
    whole, resumed = ServerOptimizer(recipe, start=ADAPTER), ServerOptimizer(recipe, start=ADAPTER)
    whole.chosen("train", 1, ADAPTER, NODES)
    first = whole.step(1, ADAPTER + 1)
    np.testing.assert_array_equal(first, ADAPTER + 1)  # at the start there is no pull yet
    for each in (whole, resumed):
        each.chosen("train", 2, first, NODES)
    np.testing.assert_array_equal(whole.step(2, first), ADAPTER + 0.5)
    np.testing.assert_array_equal(resumed.step(2, first), ADAPTER + 0.5)


def test_without_l2_sp_what_was_opened_is_stepped_as_it_is():
    optimizer = ServerOptimizer(pure_recipe(), start=ADAPTER + 5)
    optimizer.chosen("train", 1, ADAPTER, NODES)
    np.testing.assert_array_equal(optimizer.step(1, ADAPTER + 1), ADAPTER + 1)
