"""A round among simulated sites without its messages: what is asked of one party, and what it answers.

What a site computes of its records is here in the open, seeded, and unpaid for in any ledger. It is for a machine whose
one owner holds all sites' records, to find out what a recipe teaches; nothing that comes of it is a release.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_common.entropy import SeededEntropy
from sealora_common.recipe import Recipe
from sealora_common.round.contribution import Contribution
from sealora_common.round.order import Purpose

Party = tuple[str, ...]
"""Names of the sites whose records are together: one is a site by itself."""


@dataclass(frozen=True)
class UnsealedOrder:
    """What one party is asked for in a round.

    Attributes:
        recipe: what it trains by.
        roster_size: sites of the federation, who share the noise.
        purpose: to train, or to evaluate alone.
        number: of the round, the first is 1.
        clip_norm: C of the round.
        evaluates: whether the figure that the server would be told is wanted.
        seed: samples, dropout and noise follow from it.
    """

    recipe: Recipe
    roster_size: int
    purpose: Purpose
    number: int
    clip_norm: float
    evaluates: bool
    seed: int

    def entropy(self, party: Party, *purpose: str | int) -> SeededEntropy:
        """What a site of this name draws from in a simulation under `SEALORA_INSECURE_SEED=<seed>`."""
        return SeededEntropy(str(self.seed), "+".join(party), self.purpose, self.number, *purpose)


@dataclass(frozen=True)
class UnsealedAnswer:
    """What it answers.

    Attributes:
        contribution: as a site would encode and mask it.
        median_norm: of the gradients before clipping; nan if nothing was trained or drawn.
    """

    contribution: Contribution
    median_norm: float


@dataclass(frozen=True)
class SiteHeldout:
    """An adapter on the held-out records of one site, exact: no noise protects them.

    Attributes:
        site: its name.
        mean: the site's figure; not finite if the model has diverged.
        by_unit: float64, shape (N,): each held-out unit's value, in the order of the site's file.
    """

    site: str
    mean: float
    by_unit: NDArray[np.float64]
