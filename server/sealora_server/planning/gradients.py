"""Where the mean gradient lies: one step on the simulated sites' records, in the open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.privacy.noise_law import layer_name
from sealora_common.recipe import Recipe
from sealora_common.round.unsealed import UnsealedOrder
from sealora_server.comparison.arms import without_privacy
from sealora_server.simulation.sites import UnsealedSitesLike

_SEED = 0


def gradient_shares(sites: UnsealedSitesLike, recipe: Recipe) -> Mapping[str, float]:
    """Shares of the squared length of the mean gradient over all sites, by the ends of the layers' names.

    It is that of the recipe's first step, as many records as it draws, with neither clipping nor noise, in what the
    first round trains. Exact, and of the records: no release.

    Args:
        sites: whose records they are.
        recipe: what is trained.

    Raises:
        SealoraError: the model cannot be trained as the recipe says.
    """
    kind, plain = adapter_kind(recipe), _one_plain_step(recipe)
    begun = kind.shared(sites.layout).flatten(kind.initial(sites.layout))
    order = UnsealedOrder(plain, len(sites.names), "train", 1, recipe.privacy.clip_norm, evaluates=False, seed=_SEED)
    each = [sites.answer((name,), order, begun).contribution for name in sites.names]
    mean = np.average([part.values for part in each], axis=0, weights=[part.weight for part in each])
    return _shares(kind.trained(sites.layout, 1), np.square(mean, dtype=np.float64))


def _one_plain_step(recipe: Recipe) -> Recipe:
    plain = without_privacy(recipe)
    gradient = {"optimizer": "sgd", "learning_rate": 1.0, "weight_decay": 0.0, "proximal_mu": 0.0}
    once = {"steps_per_round": 1, "schedule": "constant", "warmup_steps": 0}
    training = plain.training.model_copy(update={**gradient, **once})
    return plain.model_copy(update={"training": training})


def _shares(layout: AdapterLayout, squares: NDArray[np.float64]) -> Mapping[str, float]:
    lengths: dict[str, float] = defaultdict(float)
    begin = 0
    for tensor in layout.tensors:
        end = begin + tensor.size
        name = layer_name(tensor.name)
        if name is not None:
            lengths[name] += float(squares[begin:end].sum())
        begin = end
    whole = float(squares.sum())
    return {name: length / whole for name, length in lengths.items()} if whole else {}
