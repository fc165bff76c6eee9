"""The recipe's server optimiser on the change of one site alone."""

from __future__ import annotations

import numpy as np
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from sealora_common.recipe import Recipe
from sealora_server.run.server_optimizer import ServerOptimizer
from sealora_server.simulation.inline import InlineGrid


class ServerStep:
    """What the server makes of the rounds of one site, one round after another.

    Args:
        recipe: sections `server` and `sites` are read.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._optimizer = ServerOptimizer(recipe)
        # As many nodes as a strategy of this recipe waits for.
        self._nodes = InlineGrid(ClientApp(), [{} for _ in range(recipe.sites.minimum)]).get_node_ids()

    def __call__(
        self, round_number: int, before: NDArray[np.float32], after: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The next global adapter, float32, shape (P,), from the one before and the one after the site's change."""
        self._optimizer.chosen("train", round_number, before, self._nodes)
        return self._optimizer.step(round_number, after)
