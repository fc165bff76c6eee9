"""The server's optimiser: Flower's own strategies, and their state as tensors that a run can be resumed from."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi, Strategy
from flwr.serverapp.strategy.fedopt import FedOpt
from numpy.typing import NDArray

from sealora_common.recipe import Recipe
from sealora_common.round.wire_format import ADAPTER

State = dict[str, NDArray[Any]]


def build_strategy(recipe: Recipe) -> Strategy:
    """The Flower strategy that the recipe's `server` section names, over every enrolled site."""
    section = recipe.server
    common: dict[str, Any] = {
        "fraction_train": 1.0,
        "fraction_evaluate": 1.0,
        "min_train_nodes": recipe.sites.minimum,
        "min_evaluate_nodes": recipe.sites.minimum,
        "min_available_nodes": recipe.sites.minimum,
    }
    rate = section.learning_rate
    match section.optimizer:
        case "fedavg" if rate == 1.0 and recipe.training.is_constant:
            return FedAvg(**common)
        case "fedavg":
            return FedAvgM(server_learning_rate=rate, server_momentum=0.0, **common)
        case "fedavgm":
            return FedAvgM(server_learning_rate=rate, server_momentum=section.momentum, **common)
        case "fedadam":
            return FedAdam(eta=rate, beta_1=section.momentum, beta_2=section.beta_2, tau=section.tau, **common)
        case "fedyogi":
            return FedYogi(eta=rate, beta_1=section.momentum, beta_2=section.beta_2, tau=section.tau, **common)
        case "fedadagrad":
            return FedAdagrad(eta=rate, tau=section.tau, **common)


def set_learning_rate(strategy: Strategy, rate: float) -> None:
    """Sets the learning rate of the steps that follow; moments stay. FedAvg has none and steps at 1."""
    if isinstance(strategy, FedAvgM):
        strategy.server_learning_rate = rate
        strategy.server_opt = True  # which it leaves off where it begins at 1 without momentum
    elif isinstance(strategy, FedOpt):
        strategy.eta = rate


def strategy_state(strategy: Strategy) -> State:
    """What the strategy carries from round to round besides the adapter: its moments, by name."""
    state: State = {}
    if isinstance(strategy, FedAvgM):
        if strategy.momentum_vector is not None:
            state["momentum"] = np.asarray(strategy.momentum_vector[0])
        return state
    for name in ("m_t", "v_t"):
        moments = getattr(strategy, name, None)
        if moments:
            state[name] = np.asarray(moments[ADAPTER])
    return state


def restore_strategy(strategy: Strategy, state: State) -> None:
    """The inverse of `strategy_state`, on a fresh strategy of the same recipe."""
    if isinstance(strategy, FedAvgM):
        if "momentum" in state:
            strategy.momentum_vector = [state["momentum"]]
        return
    for name in ("m_t", "v_t"):
        if name in state:
            setattr(strategy, name, {ADAPTER: state[name]})
