from __future__ import annotations

import numpy as np
import pytest

from sealora_server.simulation.server_step import ServerStep

from pure_sites import pure_recipe

SIZE = 5


def test_plain_averaging_takes_the_site_s_change_as_it_is():
    step = ServerStep(pure_recipe())
    before, after = np.zeros(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32)
    np.testing.assert_array_equal(step(1, before, after), after)


def test_momentum_is_carried_from_round_to_round():
    step = ServerStep(pure_recipe(server={"optimizer": "fedavgm", "learning_rate": 0.5, "momentum": 0.8}))
    change = np.ones(SIZE, dtype=np.float32)
    first = step(1, np.zeros(SIZE, dtype=np.float32), change)
    second = step(2, first, first + change)
    np.testing.assert_allclose(first, 0.5 * change)
    np.testing.assert_allclose(second - first, 0.5 * 1.8 * change, rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["fedadam", "fedyogi", "fedadagrad"])
def test_an_adaptive_optimiser_moves_all_coordinates_alike(optimizer):
    step = ServerStep(pure_recipe(server={"optimizer": optimizer, "learning_rate": 0.1, "tau": 1e-9}))
    change = np.array([1e-3, 1e-2, 0.1, 1.0, 10.0], dtype=np.float32)
    stepped = step(1, np.zeros(SIZE, dtype=np.float32), change)
    assert stepped.dtype == np.float32
    assert (stepped > 0).all()
    np.testing.assert_allclose(stepped, stepped[0], rtol=1e-3)
