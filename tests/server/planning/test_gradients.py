"""In which layers the mean gradient lies: by known gradients, and on a real model against a run's own first step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sealora_client.simulated import SimulatedSites
from sealora_common.adapter import AdapterLayout, TensorSpec, adapter_kind
from sealora_common.privacy.noise_law import layer_name
from sealora_common.recipe import load_recipe
from sealora_common.round.contribution import Contribution
from sealora_common.round.unsealed import UnsealedAnswer
from sealora_server.comparison.arms import arms_of
from sealora_server.comparison.unsealed_run import run_unsealed
from sealora_server.planning.gradients import gradient_shares

from tiny_federation import PRIVATE, write_federation

DEMO = Path(__file__).parents[3] / "configs" / "demo-icd10-distributed.yaml"
PLAIN_STEP = {"sample_rate": 1.0, "steps_per_round": 1, "optimizer": "sgd", "learning_rate": 1.0}


GRADIENTS = {"a": ([1, 0, 3, 0, 0, 0], 1.0), "b": ([1, 0, -1, 0, 0, 4], 1.0), "c": ([1, 0, -1, 0, 0, 0], 2.0)}


class KnownSites:
    """Three sites whose gradients are known; each answer has A's tensors left out, as the recipe freezes them."""

    layout = AdapterLayout(
        (
            TensorSpec("m.0.v_proj.lora_A.weight", (2, 3)),
            TensorSpec("m.0.v_proj.lora_B.weight", (1, 2)),
            TensorSpec("m.0.up_proj.lora_A.weight", (2, 3)),
            TensorSpec("m.0.up_proj.lora_B.weight", (1, 2)),
            TensorSpec("m.1.v_proj.lora_A.weight", (2, 3)),
            TensorSpec("m.1.v_proj.lora_B.weight", (1, 2)),
        )
    )
    names = ("a", "b", "c")

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self.orders = scale, []

    def answer(self, party, order, adapter):
        self.orders.append((order, adapter))
        values, weight = GRADIENTS[party[0]]
        return UnsealedAnswer(Contribution(np.array(values, dtype=np.float32) * self.scale, weight), 1.0)


def test_the_mean_is_weighed_as_a_round_weighs_and_each_part_has_all_its_layers():
    """Weighed it is (1, 0 | 0, 0 | 0, 1): up's gradients cancel, and half lies in each block's v."""
    assert gradient_shares(KnownSites(), load_recipe(DEMO)) == {"v_proj": 1.0, "up_proj": 0.0}


def test_a_gradient_of_nothing_lies_nowhere():
    assert gradient_shares(KnownSites(0.0), load_recipe(DEMO)) == {}


OWN = ["weight_decay=0.1", "proximal_mu=0.3", "learning_rate=0.2", "steps_per_round=3"]


@pytest.mark.parametrize(("name", "own"), [("demo-icd10-distributed.yaml", []), ("demo-icd10.yaml", OWN)])
def test_one_plain_step_is_asked_for_whatever_the_recipe_s_own_are(name, own):
    own = [f"training.{each}" for each in (*own, "warmup_steps=1", "schedule=linear")]
    recipe = load_recipe(DEMO.with_name(name), own)
    sites = KnownSites()
    gradient_shares(sites, recipe)
    order, adapter = sites.orders[0]
    assert order.recipe.privacy.mechanism == "none"
    training = order.recipe.training
    assert (training.steps_per_round, training.optimizer, training.learning_rate) == (1, "sgd", 1.0)
    assert (training.schedule, training.warmup_steps, training.weight_decay, training.proximal_mu) == (
        "constant",
        0,
        0,
        0,
    )
    assert training.sample_rate == recipe.training.sample_rate
    np.testing.assert_array_equal(adapter, np.zeros(6, dtype=np.float32))


def test_it_is_where_the_first_plain_step_of_a_run_goes(tiny_base, tmp_path):
    base = tiny_base()
    private = load_recipe(write_federation(tmp_path, base, training=PLAIN_STEP, privacy=PRIVATE))
    shares = gradient_shares(SimulatedSites.unsealed(private), private)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(0 < share < 1 for share in shares.values())

    (tmp_path / "open").mkdir()
    none = {"mechanism": "none"}
    path = write_federation(tmp_path / "open", base, rounds=1, training=PLAIN_STEP, privacy=none)
    recipe = load_recipe(path, ["server.optimizer=fedavg", "sealing.ring_bits=32"])
    sites = SimulatedSites.unsealed(recipe)
    arms = {arm.key: arm for arm in arms_of(recipe, {name: sites.units((name,)) for name in sites.names})}
    walked = adapter_kind(recipe).shared(sites.layout).unflatten(run_unsealed(sites, arms["federated"], 0).adapter)
    lengths = dict.fromkeys(shares, 0.0)
    for name, tensor in walked.items():
        lengths[layer_name(name)] += float(np.square(tensor, dtype=np.float64).sum())
    whole = sum(lengths.values())
    # The arm rounds to the ring, the step by itself does not.
    assert shares == pytest.approx({name: length / whole for name, length in lengths.items()}, rel=1e-3)
