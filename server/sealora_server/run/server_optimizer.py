"""The server's optimiser at work: Flower's strategy, unchanged, on what a sealed round opened.

A strategy chooses the sites of a round and steps the adapter by their replies. Here it gets one reply, from nobody in
particular: the adapter as the opened sum would have it. It reaches no site.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from numpy.typing import NDArray

from sealora_common.recipe import Recipe
from sealora_common.round.learning_rate import server_learning_rate
from sealora_common.round.order import Purpose
from sealora_common.round.wire_format import ADAPTER, ARRAYS, Action
from sealora_server.run.strategy import State, build_strategy, restore_strategy, set_learning_rate, strategy_state

_METRICS = "metrics"
_WEIGHT = "num-examples"
_HELDOUT_LOSS = "heldout-loss"
_NOBODY = 1  # Flower's number for a server: strategies do not look at who replied


class ServerOptimizer:
    """The strategy that a recipe names, from round to round: `chosen`, then `step` or `evaluated`.

    Args:
        recipe: sections `server` and `sites` are read, and the schedule of the learning rate.
        state: what `state` was after the last round; none before the first.
        start: the shared part of the adapter that the run began with, float32, shape (P,); None: that of the first
            round that it is asked about.
    """

    def __init__(self, recipe: Recipe, state: State | None = None, start: NDArray[np.float32] | None = None) -> None:
        self._start, self._before = start, start
        self._recipe = recipe
        self._strategy = build_strategy(recipe)
        restore_strategy(self._strategy, state or {})

    @property
    def state(self) -> State:
        """What it carries from round to round besides the adapter."""
        return strategy_state(self._strategy)

    def chosen(
        self, purpose: Purpose, round_number: int, adapter: NDArray[np.float32], nodes: Sequence[int]
    ) -> tuple[int, ...]:
        """Which of the nodes take part, in the order in which they are asked.

        Some strategies keep `adapter`, float32, shape (P,), and step from there.
        """
        self._before = adapter
        self._start = adapter if self._start is None else self._start
        configure = self._strategy.configure_train if purpose == "train" else self._strategy.configure_evaluate
        messages = configure(round_number, ArrayRecord({ADAPTER: Array(adapter)}), ConfigRecord(), _Nodes(nodes))
        return tuple(message.metadata.dst_node_id for message in messages)

    def step(
        self, round_number: int, adapter: NDArray[np.float32], heldout_loss: float | None = None
    ) -> NDArray[np.float32]:
        """The next global adapter, float32, shape (P,), from the one that the sites would have.

        Args:
            round_number: of the round that `chosen` was asked about last.
            adapter: the one that was sent plus the mean of the sites' deltas, float32, shape (P,).
            heldout_loss: the sites' mean, if the round told it.
        """
        set_learning_rate(self._strategy, server_learning_rate(self._recipe, round_number))
        reply = _reply(Action.TRAIN, heldout_loss)
        reply.content[ARRAYS] = ArrayRecord({ADAPTER: Array(self._pulled(adapter))})
        stepped, _ = self._strategy.aggregate_train(round_number, [reply])
        if stepped is None:
            raise RuntimeError("a strategy returned no arrays for a complete round")
        return np.asarray(stepped[ADAPTER].numpy(), dtype=np.float32)

    def _pulled(self, adapter: NDArray[np.float32]) -> NDArray[np.float32]:
        """With the gradient of l2_sp / 2 * ||before - start||^2 in the step: of what is public alone, so it is free."""
        strength = np.float32(self._recipe.server.l2_sp)
        if not strength or self._before is None or self._start is None:
            return adapter
        return adapter - strength * (self._before - self._start)

    def evaluated(self, round_number: int, heldout_loss: float | None) -> None:
        """Tells the strategy the mean held-out loss that an evaluation opened."""
        self._strategy.aggregate_evaluate(round_number, [_reply(Action.EVALUATE, heldout_loss)])


def _reply(action: Action, heldout_loss: float | None) -> Message:
    metrics = MetricRecord({_WEIGHT: 1.0})
    if heldout_loss is not None:
        metrics[_HELDOUT_LOSS] = heldout_loss
    return Message(RecordDict({_METRICS: metrics}), dst_node_id=_NOBODY, message_type=action.value)


class _Nodes(Grid):
    """All that a strategy may know of the sites: which nodes there are. Whatever reaches one would bypass the seal."""

    def __init__(self, nodes: Sequence[int]) -> None:
        self._nodes = nodes

    def get_node_ids(self) -> Iterable[int]:
        return list(self._nodes)

    def set_run(self, run: Run) -> NoReturn:
        raise NotImplementedError(_SEALED)

    @property
    def run(self) -> Run:
        raise NotImplementedError(_SEALED)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> NoReturn:
        raise NotImplementedError(_SEALED)

    def push_messages(self, messages: Iterable[Message]) -> NoReturn:
        raise NotImplementedError(_SEALED)

    def pull_messages(self, message_ids: Iterable[str]) -> NoReturn:
        raise NotImplementedError(_SEALED)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> NoReturn:
        raise NotImplementedError(_SEALED)


_SEALED = "a strategy reaches no site: it steps by what a sealed round opened"
