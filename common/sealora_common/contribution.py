"""What one site puts into the sealed sum of a round, and what the opened sum says.

Besides the weighted delta a site contributes a short tally: one (so that the opened sum proves itself), its
weight, its held-out loss and how much of its delta was clipped. None of it is readable for one site alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout
from sealora_common.clip_range import initial_range
from sealora_common.entropy import Entropy
from sealora_common.recipe import Recipe
from sealora_common.secagg import OpenedSum, ProtocolError, RingVector, Segment
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.rotation import rotate, rotated_length, unrotate

_TALLY_BITS = 32
_TALLY_RANGES = {"weight": (0.0, 1.0), "heldout_loss": (0.0, 64.0), "clipped": (0.0, 1.0)}


@dataclass(frozen=True)
class Contribution:
    """One site's plain contribution, before it is encoded and masked.

    Attributes:
        delta: float32, shape (P,), the trained part of the adapter minus the global one; empty in an evaluation.
        weight: in (0, 1].
        heldout_loss: mean negative log-likelihood a token, in nats, of the global adapter at this site.
    """

    delta: NDArray[np.float32]
    weight: float
    heldout_loss: float


@dataclass(frozen=True)
class OpenedRound:
    """What the sum of a round says.

    Attributes:
        survivors: indices of the sites in it.
        mean_delta: float64, shape (P,), the weighted mean of their deltas.
        heldout_loss: plain mean of their held-out losses.
        clipped_fraction: mean fraction of coordinates that lay outside the public range.
        total_weight: sum of their weights.
    """

    survivors: tuple[int, ...]
    mean_delta: NDArray[np.float64]
    heldout_loss: float
    clipped_fraction: float
    total_weight: float


@dataclass(frozen=True)
class ContributionLayout:
    """How a contribution of `parameters` coordinates is laid out in the ring, for at most `parties` sites."""

    parameters: int
    parties: int
    bits: int
    clip_range: float
    rotation_seed: str = ""
    """Public seed of the Hadamard rotation of this round; empty for none."""

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        trained: AdapterLayout | None,
        parties: int,
        *,
        clip_range: float | None = None,
        rotation_seed: str = "",
    ) -> ContributionLayout:
        """The layout under a recipe.

        Args:
            recipe: the recipe.
            trained: what is trained in the round; None in an evaluation, where no delta is sent.
            parties: most sites that the sum may have.
            clip_range: the round's public range; None for the recipe's initial one.
            rotation_seed: used if the recipe asks for the rotation.
        """
        return cls(
            trained.size if trained else 0,
            parties,
            recipe.sealing.ring_bits,
            initial_range(recipe) if clip_range is None else clip_range,
            rotation_seed if recipe.sealing.rotation else "",
        )

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The delta's words, then the tally's."""
        words = rotated_length(self.parameters) if self.rotation_seed else self.parameters
        return (Segment(words, self.bits), Segment(1 + len(_TALLY_RANGES), _TALLY_BITS))

    def encode(self, contribution: Contribution, entropy: Entropy) -> RingVector:
        """Encodes `contribution`; the delta carries the weight, so that the sum is a weighted one."""
        weighted = contribution.delta.astype(np.float64) * contribution.weight
        if self.rotation_seed:
            weighted = rotate(weighted, self.rotation_seed)
        body, clipped = self._body.encode(weighted, entropy)
        tally = {
            "weight": contribution.weight,
            "heldout_loss": contribution.heldout_loss,
            "clipped": clipped / max(1, len(body)),
        }
        words = [np.array([1], dtype=np.uint32)]
        for name, code in self._tally.items():
            words.append(code.encode(np.array([tally[name]]), entropy)[0])
        return RingVector(self.segments, (body, np.concatenate(words).astype("<u4")))

    def decode(self, opened: OpenedSum) -> OpenedRound:
        """Decodes an opened sum.

        Raises:
            ProtocolError: the sum does not count its own survivors, so a site sent something else than it should.
        """
        count = len(opened.survivors)
        body, tally = opened.vector.words
        sums = {
            name: float(code.decode_sum(tally[1 + position : 2 + position], count)[0])
            for position, (name, code) in enumerate(self._tally.items())
        }
        if int(tally[0]) != count or sums["weight"] <= 0:
            raise ProtocolError("the opened sum does not add up: a site's vector was damaged, the round is void")
        weighted_sum = self._body.decode_sum(body, count)
        if self.rotation_seed:
            weighted_sum = unrotate(weighted_sum, self.rotation_seed, self.parameters)
        return OpenedRound(
            survivors=opened.survivors,
            mean_delta=weighted_sum / sums["weight"],
            heldout_loss=sums["heldout_loss"] / count,
            clipped_fraction=sums["clipped"] / count,
            total_weight=sums["weight"],
        )

    @property
    def _body(self) -> FixedPoint:
        return FixedPoint(-self.clip_range, self.clip_range, self.bits, self.parties)

    @property
    def _tally(self) -> dict[str, FixedPoint]:
        return {name: FixedPoint(low, high, _TALLY_BITS, self.parties) for name, (low, high) in _TALLY_RANGES.items()}


def site_weight(recipe: Recipe, records: int) -> float:
    """A site's weight in (0, 1]: its share of the recipe's cap on records, or one."""
    if recipe.sealing.weighting == "uniform":
        return 1.0
    return min(records, recipe.sealing.weight_cap) / recipe.sealing.weight_cap
