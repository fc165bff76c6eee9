"""The recipe's server optimiser on the change of one site alone."""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from sealora_common.recipe import Recipe
from sealora_common.round.wire_format import ADAPTER, ARRAYS
from sealora_server.run.sealed_grid import WEIGHT
from sealora_server.run.strategy import build_strategy
from sealora_server.simulation.inline import InlineGrid


class ServerStep:
    """What the server makes of the rounds of one site, one round after another.

    Args:
        recipe: sections `server` and `sites` are read.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._strategy = build_strategy(recipe)
        self._grid = InlineGrid(ClientApp(), [{} for _ in range(recipe.sites.minimum)])

    def __call__(
        self, round_number: int, before: NDArray[np.float32], after: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The next global adapter, float32, shape (P,), from the one before and the one after the site's change."""
        arrays = ArrayRecord({ADAPTER: Array(before)})
        asked = list(self._strategy.configure_train(round_number, arrays, ConfigRecord(), self._grid))
        content = RecordDict({ARRAYS: ArrayRecord({ADAPTER: Array(after)}), "metrics": MetricRecord({WEIGHT: 1.0})})
        stepped, _ = self._strategy.aggregate_train(round_number, [Message(content, reply_to=asked[0])])
        if stepped is None:
            raise RuntimeError("a strategy returned no arrays for a complete round")
        return np.asarray(stepped[ADAPTER].numpy(), dtype=np.float32)
