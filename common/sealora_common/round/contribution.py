"""What one site puts into the sealed sum of a round, and what the opened sum says.

Besides its vector (a weighted delta; with `distributed`, a noised sum of gradients on an integer grid) a site
contributes a short tally: one (so that the opened sum proves itself), its weight unless all weigh the same, and, where
the round has them, its noisy held-out loss, how much of its delta was clipped and its noisy share of unclipped
gradients. None of it is readable for one site alone.

Additive masks prove nothing about what they hide: a member that lies may send any words, and so make the sum of the
survivors any words. Whatever an opened sum says is therefore held to what honest sites can say, the sum of the weights
above all, for the mean is divided by it. `sealora_common.round.influence` has the bound that follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout
from sealora_common.entropy import Entropy
from sealora_common.privacy.mechanisms import mechanism_of
from sealora_common.recipe import Recipe
from sealora_common.round.clip_norm import unclipped_share
from sealora_common.round.clip_range import initial_range
from sealora_common.round.sum_grid import SumGrid
from sealora_common.secagg import OpenedSum, ProtocolError, RingVector, Segment
from sealora_common.secagg.encoding import FixedPoint
from sealora_common.secagg.ring import Words
from sealora_common.secagg.rotation import rotate, rotated_length, unrotate

_TALLY_BITS = 32
_TALLY_RANGES = {
    "weight": (0.0, 1.0),
    "heldout_loss": (-64.0, 128.0),  # noise can bring it below 0
    "clipped": (0.0, 1.0),
    "unclipped": (-1.0, 2.0),
}


class DamagedSumError(ProtocolError):
    """A sum does not count its own survivors: somebody in it sent something else than it should. Told to no server."""

    travels = False


@dataclass(frozen=True)
class Contribution:
    """One site's plain contribution, before it is encoded and masked.

    Attributes:
        values: float32, shape (P,), the trained part of the adapter minus the global one; with `distributed` int64,
            shape (P,) or (P + 1,), the noised sum (see `sealora_client.training.distributed`); empty in an evaluation.
        weight: see `site_weight`; ignored where all sites weigh the same.
        heldout_loss: noisy mean loss of the global adapter on this site's held-out records, in nats a token; ignored
            in a round that does not evaluate.
        unclipped: noisy share of unclipped gradients; ignored unless sites adapt the clipping norm by themselves.
    """

    values: NDArray[np.float32] | NDArray[np.int64]
    weight: float
    heldout_loss: float = 0.0
    unclipped: float = 0.0


@dataclass(frozen=True)
class OpenedRound:
    """What the sum of a round says.

    Attributes:
        survivors: indices of the sites in it.
        mean_delta: float64, shape (P,), the weighted mean of their deltas; with `distributed` the negated mean
            gradient, which is a step of plain gradient descent at learning rate 1.
        heldout_loss: plain mean of their held-out losses; None in a round that does not evaluate.
        clipped_fraction: mean fraction of coordinates that lay outside the public range; 0 with `distributed`, where
            it is not told, for no noise would cover it.
        total_weight: sum of their weights, between the floor and one a site.
        unclipped: noisy share of unclipped gradients; None without adaptive clipping.
        groups: the survivors of each group that was opened by itself; without groups there is one.
    """

    survivors: tuple[int, ...]
    mean_delta: NDArray[np.float64]
    heldout_loss: float | None
    clipped_fraction: float
    total_weight: float
    unclipped: float | None = None
    groups: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class ContributionLayout:
    """How a contribution is laid out in the ring, for at most `parties` sites.

    Attributes:
        parameters: P, number of trained parameters; 0 in an evaluation.
        parties: most sites that the sum may have.
        bits: width of the ring of the vector.
        clip_range: public range of a coordinate of a delta.
        rotation_seed: public seed of the Hadamard rotation of this round; empty for none.
        tally: what the tally holds besides the count, in order.
        grid: the integer grid of a distributed sum; None for deltas.
        clip_norm: C of this round: what `grid.grid_steps` steps stand for.
        expected: units (records, persons) a step is expected to draw at a site of weight 1.
        votes: whether a distributed sum ends with the count of unclipped units.
        weight_floor: least weight of a site, in (0, 1].
    """

    parameters: int
    parties: int
    bits: int
    clip_range: float
    rotation_seed: str = ""
    tally: tuple[str, ...] = ("weight", "heldout_loss", "clipped")
    grid: SumGrid | None = None
    clip_norm: float = 1.0
    expected: float = 1.0
    votes: bool = False
    weight_floor: float = 0.1

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        trained: AdapterLayout | None,
        parties: int,
        *,
        evaluates: bool = True,
        clip_range: float | None = None,
        clip_norm: float | None = None,
        rotation_seed: str = "",
    ) -> ContributionLayout:
        """The layout that a recipe asks for.

        Args:
            recipe: sections `sealing`, `training` and `privacy` are read.
            trained: the trained part of the adapter; None in an evaluation, where no delta is sent.
            parties: most sites that the sum may have.
            evaluates: whether held-out losses are summed in this round.
            clip_range: the round's public range; None for the recipe's initial one.
            clip_norm: the round's clipping norm; None for the recipe's.
            rotation_seed: used if the recipe asks for the rotation.

        Raises:
            RecipeError: a distributed sum does not fit the ring.
        """
        adapts = recipe.privacy.target_quantile is not None and trained is not None
        grid = None if trained is None else mechanism_of(recipe).grid(recipe, parties)
        tally = ["weight"] if recipe.sealing.weighting == "records" else []
        tally += ["heldout_loss"] if evaluates else []
        tally += [] if trained is None else mechanism_of(recipe).tally(recipe)
        return cls(
            trained.size if trained else 0,
            parties,
            recipe.sealing.ring_bits,
            initial_range(recipe) if clip_range is None else clip_range,
            rotation_seed if recipe.sealing.rotation else "",
            tuple(tally),
            grid,
            recipe.privacy.clip_norm if clip_norm is None else clip_norm,
            recipe.training.sample_rate * recipe.sealing.weight_cap,
            adapts and grid is not None,
            recipe.sealing.weight_floor,
        )

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The vector's words, then the tally's."""
        words = rotated_length(self.parameters) if self.rotation_seed else self.parameters + self.votes
        return (Segment(words, self.bits), Segment(1 + len(self.tally), _TALLY_BITS))

    def encode(self, contribution: Contribution, entropy: Entropy) -> RingVector:
        """Encodes `contribution`; a delta carries the weight, so that the sum is a weighted one."""
        body, clipped = self._encode_body(contribution, entropy)
        figures = {
            "weight": contribution.weight,
            "heldout_loss": contribution.heldout_loss,
            "clipped": clipped,
            "unclipped": contribution.unclipped,
        }
        words = [np.array([1], dtype=np.uint32)]
        for name, code in self._tally.items():
            words.append(code.encode(np.array([figures[name]]), entropy)[0])
        return RingVector(self.segments, (body, np.concatenate(words).astype("<u4")))

    def decode(self, opened: OpenedSum) -> OpenedRound:
        """Decodes an opened sum; figures outside of what honest sites can say count as the nearest that they can.

        Raises:
            DamagedSumError: the sum does not count its own survivors, so a site sent something else than it should.
        """
        count = len(opened.survivors)
        body, tally = opened.vector.words
        if int(tally[0]) != count:
            raise DamagedSumError("the opened sum does not add up: a site's vector was damaged, the round is void")
        means = {
            name: _held_to(float(code.decode_sum(tally[1 + position : 2 + position], count)[0]) / count, code)
            for position, (name, code) in enumerate(self._tally.items())
        }
        # Where all weigh the same, who survived says how much: nobody's word is taken for it.
        total_weight = count * max(self.weight_floor, means.get("weight", 1.0))
        mean_delta, unclipped = self._decode_body(body, count, total_weight)
        return OpenedRound(
            survivors=opened.survivors,
            mean_delta=mean_delta,
            heldout_loss=means.get("heldout_loss"),
            clipped_fraction=means.get("clipped", 0.0),
            total_weight=total_weight,
            unclipped=means.get("unclipped", unclipped),
            groups=(opened.survivors,),
        )

    def sum_limit(self, survivors: int) -> float:
        """Largest absolute value that a coordinate of the vector's sum is read as, when so many sites are in it.

        In units of a (rotated, if the round rotates) weighted delta; with `distributed`, of a sum of gradients.
        """
        if self.grid is None:
            return survivors * self.clip_range
        return self.grid.sum_limit(survivors) * self.clip_norm / self.grid.grid_steps

    def expected_batch(self, total_weight: float) -> float:
        """Units that a distributed sum of sites of this weight together is taken to hold, whatever was drawn.

        A weight is a site's units over the cap, so this is q times all sites' units.
        """
        return self.expected * total_weight

    def mean_of_grid_step(self, total_weight: float) -> float:
        """What one grid step of a distributed sum is in the mean gradient, for sites of this weight together."""
        steps = 1 if self.grid is None else self.grid.grid_steps
        return self.clip_norm / steps / self.expected_batch(total_weight)

    def _encode_body(self, contribution: Contribution, entropy: Entropy) -> tuple[Words, float]:
        """The vector's words, and which part of a delta was clipped."""
        if self.grid is not None:
            return self.grid.encode(contribution.values.astype(np.int64)), 0.0
        weighted = contribution.values.astype(np.float64) * contribution.weight
        if self.rotation_seed:
            weighted = rotate(weighted, self.rotation_seed)
        body, clipped = self._fixed_point.encode(weighted, entropy)
        return body, clipped / max(1, len(body))

    def _decode_body(self, body: Words, count: int, total_weight: float) -> tuple[NDArray[np.float64], float | None]:
        """The mean delta, and the share of unclipped units if the vector ends with their votes."""
        if self.grid is None:
            limit = self.sum_limit(count)
            weighted_sum = np.clip(self._fixed_point.decode_sum(body, count), -limit, limit)
            if self.rotation_seed:
                weighted_sum = unrotate(weighted_sum, self.rotation_seed, self.parameters)
            return weighted_sum / total_weight, None
        limit = self.grid.sum_limit(count)
        values = np.clip(self.grid.decode(body), -limit, limit)
        mean_gradient = values[: self.parameters].astype(np.float64) * self.mean_of_grid_step(total_weight)
        if not self.votes:
            return -mean_gradient, None
        low, high = _TALLY_RANGES["unclipped"]
        share = unclipped_share(float(values[-1]), self.grid.grid_steps, self.expected_batch(total_weight))
        return -mean_gradient, min(high, max(low, share))

    @property
    def _fixed_point(self) -> FixedPoint:
        return FixedPoint(-self.clip_range, self.clip_range, self.bits, self.parties)

    @property
    def _tally(self) -> dict[str, FixedPoint]:
        return {name: FixedPoint(*_TALLY_RANGES[name], _TALLY_BITS, self.parties) for name in self.tally}


def _held_to(mean: float, code: FixedPoint) -> float:
    return min(code.high, max(code.low, mean))


def site_weight(recipe: Recipe, units: int) -> float:
    """A site's weight: its number of records or persons as a share of the recipe's cap, no less than the floor; or one.

    With `distributed` a weight stands for the batch expected of a site. One that the floor lifts makes the steps of
    all a little shorter than meant, never longer; `sealing.weight_cap` near the largest site's size avoids it.
    """
    sealing = recipe.sealing
    if sealing.weighting == "uniform":
        return 1.0
    return max(sealing.weight_floor, min(units, sealing.weight_cap) / sealing.weight_cap)
