"""What a round's samples, dropout, noise and rounding are drawn from."""

from __future__ import annotations

from sealora_common.entropy import Entropy, SeededEntropy, site_entropy
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe


def training_entropy(recipe: Recipe, *purpose: str | int) -> Entropy:
    """The kernel's generator; without privacy, and with a `training.seed`, a stream that follows from that.

    Keys and masks are never drawn from here: the seal needs secrets of its own, whatever the mechanism.

    Args:
        recipe: says whether there is a seed.
        purpose: site, round and what it is for: of each there is a stream.
    """
    seed = mechanism_of(recipe).seed(recipe)
    return site_entropy(*purpose) if seed is None else SeededEntropy("training.seed", seed, *purpose)
