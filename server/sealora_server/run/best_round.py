"""Which round's adapter a run keeps, and whether it goes on: by the federation's held-out figures.

These are told anyway; they carry their noise and are charged whether anybody looks at them or not, so choosing by them
is post-processing (Dwork & Roth 2014, prop. 2.1) and free. Both answers follow from the figures alone: a run that is
resumed decides as it would have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sealora_common.privacy.heldout_noise import least_noise
from sealora_common.recipe import Recipe
from sealora_common.records.heldout_figure import HeldoutFigure

_DEVIATIONS = 2.0


@dataclass(frozen=True)
class ToldFigure:
    """What a round told of the adapter that came into it, or the final evaluation of the last one.

    Attributes:
        trained: rounds that the adapter had been trained.
        loss: noisy mean over the sites of what the recipe's evaluations tell.
        sites: how many sites' figures are in it.
    """

    trained: int
    loss: float
    sites: int


def best_figure(recipe: Recipe, figures: Sequence[ToldFigure]) -> ToldFigure:
    """The last figure that was an improvement on the best before it; the first one if none was.

    Args:
        recipe: sections `server`, `privacy` and `data` are read.
        figures: at least one, in the order in which they were told.
    """
    return figures[_best(recipe, figures)]


def stops(recipe: Recipe, figures: Sequence[ToldFigure]) -> bool:
    """Whether no more rounds are to be trained: as many figures as the recipe is patient were no improvement."""
    stopping = recipe.server.early_stopping
    if stopping is None or not figures:
        return False
    return len(figures) - 1 - _best(recipe, figures) >= stopping.patience


def least_improvement(recipe: Recipe, best: ToldFigure, other: ToldFigure) -> float:
    """By how much `other` must be better than `best` to be an improvement, in the figure's unit.

    The recipe's `min_delta`; or twice the standard deviation of the difference of the two, as far as that is public.
    """
    stopping = recipe.server.early_stopping
    if stopping is not None and stopping.min_delta is not None:
        return stopping.min_delta
    return _DEVIATIONS * least_noise(recipe) * math.sqrt(1 / best.sites + 1 / other.sites)


def _best(recipe: Recipe, figures: Sequence[ToldFigure]) -> int:
    best, sign = 0, 1 if HeldoutFigure.of(recipe).better == "lower" else -1
    for place, figure in enumerate(figures):
        gained = sign * (figures[best].loss - figure.loss)
        if gained > least_improvement(recipe, figures[best], figure):
            best = place
    return best
