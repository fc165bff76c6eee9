"""How much of a released change each canary explains: the audit's white-box score.

The adversary knows the adapter that a round started from, the canaries and the site's other records, and sees what
the round released. What it does not know is which canaries were in. A release is, up to scale and noise, the negated
sum of the clipped gradients of whatever was sampled, so each canary's gradient has a coefficient in it: zero if the
canary was not there. The inner product of release and gradient estimates the coefficient, but gradients are not
orthogonal, and what the others contribute disturbs it; this interference is what weakens one-run audits most (Keinan,
Shenfeld & Ligett 2025, arXiv:2503.07199). So all coefficients are estimated at once, by ridge regression of the
release on the canaries' clipped gradients and on the mean clipped gradient of the other records.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from sealora_client.data.population import Population
from sealora_client.model.adapted import AdaptedModel
from sealora_client.objective.choice import objective_of
from sealora_client.training.gradients.per_example import PerExampleGradients
from sealora_common.adapter import AdapterLayout
from sealora_common.recipe import Recipe

_RIDGE = 0.1  # of a gradient's mean squared length: keeps near-equal gradients from sharing huge coefficients
_NEGLIGIBLE = 1e-6
_COLUMNS = 1 << 16  # of all gradients, held in float32 at once


class CanaryGradients:
    """Clipped gradients of all canaries at one adapter, and of known records their mean.

    Args:
        model: holds the adapter that the round starts from; it is left as it is.
        layout: the part that the round trains.
        canaries: m units.
        known: records the adversary knows to be in; may be empty.
        recipe: sections `training` and `privacy` are read.
        clip_norm: C of the round.
    """

    def __init__(
        self,
        model: AdaptedModel,
        layout: AdapterLayout,
        canaries: Population,
        known: Population,
        *,
        recipe: Recipe,
        clip_norm: float,
    ) -> None:
        self._count = len(canaries)
        # Half precision is enough to attack with, and canaries times parameters are many numbers.
        self._rows = torch.empty(self._count + 1, layout.size, dtype=torch.bfloat16)
        mean = torch.zeros(layout.size)
        start = 0
        for rows in _clipped(model, layout, canaries, recipe, clip_norm):
            self._rows[start : start + len(rows)] = rows
            start += len(rows)
        for rows in _clipped(model, layout, known, recipe, clip_norm):
            mean += rows.sum(dim=0)
        self._rows[-1] = mean / max(1, len(known))

    def coefficients(self, change: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
        """How often each canary seems to have been used, up to a common scale: float64, shape (m,).

        Args:
            change: shape (P,), of the trained part of the adapter, downhill.
        """
        products, target = self._products(torch.from_numpy(np.asarray(change, dtype=np.float32)))
        ridge = np.full(len(products), _RIDGE * products.diagonal()[:-1].mean())
        # The records' share is large: shrinking it would leave much of it to the canaries.
        ridge[-1] = _NEGLIGIBLE * products[-1, -1]
        # A diagonal of 1 where there is nothing to tell (no gradient, no records) gives a coefficient of 0.
        ridge[products.diagonal() + ridge == 0] = 1.0
        return np.asarray(np.linalg.solve(products + np.diag(ridge), -target)[:-1], dtype=np.float64)

    def _products(self, change: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Inner products of all gradients with each other, and with the change, a block of columns at a time."""
        rows = len(self._rows)
        products, target = torch.zeros(rows, rows, dtype=torch.float64), torch.zeros(rows, dtype=torch.float64)
        for start in range(0, self._rows.shape[1], _COLUMNS):
            block = self._rows[:, start : start + _COLUMNS].float()
            products += block @ block.T
            target += block @ change[start : start + _COLUMNS]
        return products.numpy(), target.numpy()


def median_norm(model: AdaptedModel, layout: AdapterLayout, units: Population, recipe: Recipe) -> float:
    """The median length of the units' gradients before clipping, at the adapter that is in `model`."""
    norms = [float(row.norm()) for rows in _gradients(model, layout, units, recipe) for row in rows]
    return float(np.median(norms))


def _clipped(
    model: AdaptedModel, layout: AdapterLayout, units: Population, recipe: Recipe, clip_norm: float
) -> Iterator[torch.Tensor]:
    """The units' gradients clipped as the recipe says, some rows at a time: float32 on the CPU, shape (rows, P)."""
    sizes = [tensor.size for tensor in layout.tensors]
    per_layer = recipe.privacy.clipping == "per_layer"
    parts = sizes if per_layer else [sum(sizes)]
    for rows in _gradients(model, layout, units, recipe):
        for part in torch.split(rows, parts, dim=1):
            part.mul_((clip_norm / math.sqrt(len(parts)) / part.norm(dim=1, keepdim=True)).clamp(max=1.0))
        yield rows.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _gradients(model: AdaptedModel, layout: AdapterLayout, units: Population, recipe: Recipe) -> Iterator[torch.Tensor]:
    """Without dropout: what the adversary can compute. A unit's loss is as in training."""
    if not len(units):
        return
    model.train_only(layout)
    objective = objective_of(recipe)
    size = min(recipe.training.micro_batch_size, len(units))
    gradients = PerExampleGradients(model.tensors_of(layout), size)
    with gradients, torch.enable_grad():
        for start in range(0, len(units), size):
            chosen = units.units[start : start + size]
            gradients.start(len(chosen))
            owned = [(example, owner) for owner, unit in enumerate(chosen) for example in unit]
            for first in range(0, len(owned), size):
                examples, owners = zip(*owned[first : first + size], strict=True)
                batch = objective.batch(examples, model.pad_id, model.device)
                gradients.begin(objective.owners(owners), batch.length)
                losses = objective.losses(model, batch).means
                weights = [example.weight / len(chosen[owner]) for example, owner in zip(examples, owners, strict=True)]
                shares = torch.tensor(weights, device=model.device)
                (losses * shares).sum().backward()  # type: ignore[no-untyped-call]
            yield gradients.rows().cpu()
