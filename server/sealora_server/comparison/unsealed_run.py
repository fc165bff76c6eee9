"""All rounds of one arm of a comparison, without messages: each party's part, the sum, and the server's step.

Samples, clipping, noise, rounding, weights, groups, ranges that follow earlier sums, early stopping and the server's
optimiser are a run's own. Left out is what changes no figure: keys, masks, signatures, receipts and the ledger. With
seed s the federation's arm ends with the adapter that `SEALORA_INSECURE_SEED=s sealora simulate` ends with, to the bit;
but for what a run draws in the open and never from a seed, the groups and rotations of each round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from sealora_common.adapter import AdapterLayout, adapter_kind
from sealora_common.entropy import SeededEntropy
from sealora_common.round.clip_norm import next_clip_norm
from sealora_common.round.clip_range import initial_range, next_range
from sealora_common.round.contribution import ContributionLayout, OpenedRound
from sealora_common.round.groups import deal
from sealora_common.round.learning_rate import growth_of_steps
from sealora_common.round.order import Purpose
from sealora_common.round.robust_mean import combine_groups
from sealora_common.round.unsealed import Party, UnsealedAnswer, UnsealedOrder
from sealora_common.secagg import OpenedSum, RingVector
from sealora_server.comparison.arms import Arm
from sealora_server.run.best_round import ToldFigure, best_figure, stops
from sealora_server.simulation.server_step import ServerStep
from sealora_server.simulation.sites import UnsealedSitesLike

OnRound = Callable[[int], None]
"""Told before each round which one begins."""
OnFigure = Callable[[ToldFigure], None]
"""Told what a round has told of the adapter that came into it, where the recipe compares rounds."""


@dataclass(frozen=True)
class UnsealedResult:
    """What all rounds came to.

    Attributes:
        adapter: the shared part of the one that is kept, float32, shape (P,).
        kept_round: rounds that it has been trained.
        rounds: that were trained; fewer than the recipe's where early stopping ended it.
        norms: the median gradient's before clipping, mean over the parties, of each round.
        seconds: that the rounds took.
        told: the held-out figure of the kept adapter, as a run tells it, with its noise; None if it was not asked for.
    """

    adapter: NDArray[np.float32]
    kept_round: int
    rounds: int
    norms: tuple[float, ...]
    seconds: float
    told: float | None = None


def run_unsealed(
    sites: UnsealedSitesLike,
    arm: Arm,
    seed: int,
    on_round: OnRound | None = None,
    on_figure: OnFigure | None = None,
    *,
    tells: bool = False,
) -> UnsealedResult:
    """Trains an arm from the recipe's first adapter.

    Args:
        sites: whose records they are.
        arm: who trains what; one without parties trains nothing.
        seed: samples, dropout, noise and rounding follow from it.
        on_round: told which round begins.
        on_figure: told each figure; what it raises ends the rounds.
        tells: whether the figure of the kept adapter is wanted as a run tells it.

    Raises:
        SealoraError: the model cannot be trained as the arm's recipe says.
    """
    return _UnsealedRun(sites, arm, seed, on_round or _nothing, on_figure or _nothing, tells=tells).run()


def _nothing(told: object) -> None:
    pass


class _UnsealedRun:
    def __init__(
        self, sites: UnsealedSitesLike, arm: Arm, seed: int, on_round: OnRound, on_figure: OnFigure, *, tells: bool
    ) -> None:
        self._sites, self._arm, self._seed, self._on_round = sites, arm, seed, on_round
        self._on_figure, self._tells = on_figure, tells
        self._recipe = arm.recipe
        self._clip_range = initial_range(arm.recipe)
        self._clip_norm = arm.recipe.privacy.clip_norm
        self._norms: list[float] = []

    def run(self) -> UnsealedResult:
        recipe, kind, layout = self._recipe, adapter_kind(self._recipe), self._sites.layout
        shared, step, started = kind.shared(layout), ServerStep(self._arm.server), time.monotonic()
        adapter = shared.flatten(kind.initial(layout))
        if not self._arm.parties:
            return UnsealedResult(adapter, 0, 0, (), 0.0)
        figures, adapters, number = list[ToldFigure](), {0: adapter}, 1
        while number <= recipe.rounds and not stops(recipe, figures):
            self._on_round(number)
            opened = self._open("train", number, adapter)
            figures += self._told(number - 1, opened)
            adapter = step(number, adapter, shared.add(adapter, kind.trained(layout, number), opened.mean_delta))
            self._follow(number, opened)
            if recipe.server.keep == "best":
                adapters[number] = adapter
            number += 1
        kept, told = number - 1, None
        if recipe.server.keep == "best" or self._tells:
            last = self._open("evaluate", number, adapter)
            figures += self._told(kept, last)
            told = last.heldout_loss
        if recipe.server.keep == "best":
            best = best_figure(recipe, figures)
            kept, told, adapter = best.trained, best.loss, adapters[best.trained]
        seconds = time.monotonic() - started
        return UnsealedResult(adapter, kept, number - 1, tuple(self._norms), seconds, told if self._tells else None)

    def _told(self, trained: int, opened: OpenedRound) -> list[ToldFigure]:
        if opened.heldout_loss is None or not self._recipe.server.compares_rounds:
            return []
        figure = ToldFigure(trained, opened.heldout_loss, len(opened.survivors))
        self._on_figure(figure)
        return [figure]

    def _evaluates(self, purpose: Purpose, number: int) -> bool:
        """Whether a run's sites evaluate then."""
        return purpose == "evaluate" or self._recipe.evaluates(number)

    def _follow(self, number: int, opened: OpenedRound) -> None:
        """What the next round's ranges are, by what everybody may know of this one."""
        weighted_sum = opened.mean_delta * opened.total_weight
        growth = growth_of_steps(self._recipe, number)
        self._clip_range = next_range(self._recipe, self._clip_range, weighted_sum, opened.clipped_fraction, growth)
        self._clip_norm = next_clip_norm(self._recipe, self._clip_norm, opened.unclipped)

    def _open(self, purpose: Purpose, number: int, adapter: NDArray[np.float32]) -> OpenedRound:
        recipe = self._recipe
        order = UnsealedOrder(
            recipe=recipe,
            roster_size=len(self._sites.names),
            purpose=purpose,
            number=number,
            clip_norm=self._clip_norm,
            # Where nothing is decided by them, they are not computed: it would take long.
            evaluates=(recipe.server.compares_rounds or (self._tells and purpose == "evaluate"))
            and self._evaluates(purpose, number),
            seed=self._seed,
        )
        norms = list[float]()
        opened = (
            self._sealed_sum(order, adapter, norms) if self._arm.sealed else self._plain_mean(order, adapter, norms)
        )
        if purpose == "train":
            self._norms.append(fmean(norms))
        return opened

    def _answers(
        self, parties: tuple[Party, ...], order: UnsealedOrder, adapter: NDArray[np.float32], norms: list[float]
    ) -> Iterator[tuple[Party, UnsealedAnswer]]:
        """One after the other, so that one vector is in memory at a time."""
        for party in parties:
            answer = self._sites.answer(party, order, adapter)
            norms.append(answer.median_norm)
            yield party, answer

    def _plain_mean(self, order: UnsealedOrder, adapter: NDArray[np.float32], norms: list[float]) -> OpenedRound:
        """The weighted mean of what the parties trained: nothing is rounded, bounded or outvoted."""
        total, weights, heldout = np.zeros(self._trained(order).size), 0.0, list[float]()
        for _, answer in self._answers(self._arm.parties, order, adapter, norms):
            part = answer.contribution
            if order.purpose == "train":
                total += part.weight * part.values.astype(np.float64)
            weights += part.weight
            heldout.append(part.heldout_loss)
        return OpenedRound(
            survivors=tuple(range(len(self._arm.parties))),
            mean_delta=total / weights,
            heldout_loss=fmean(heldout) if order.evaluates else None,
            clipped_fraction=0.0,
            total_weight=weights,
        )

    def _sealed_sum(self, order: UnsealedOrder, adapter: NDArray[np.float32], norms: list[float]) -> OpenedRound:
        """What a sealed round opens, of groups too: the sum on the ring of integers, which masks do not change."""
        recipe, names = self._recipe, self._sites.names
        nonce = SeededEntropy(str(self._seed), "server", order.number, "nonce").bytes(16).hex()
        opened = []
        for members in deal(names, recipe.sealing.groups, nonce):
            layout = ContributionLayout.of(
                recipe,
                self._trained(order) if order.purpose == "train" else None,
                len(members),
                # As in a run, also where the figure itself is left out: rounding takes as much from the entropy.
                evaluates=self._evaluates(order.purpose, order.number),
                clip_range=self._clip_range,
                clip_norm=order.clip_norm,
                rotation_seed=nonce,
            )
            summed = RingVector.zeros(layout.segments)
            for party, answer in self._answers(tuple((name,) for name in members), order, adapter, norms):
                summed.add_(layout.encode(answer.contribution, order.entropy(party, "rounding")))
            summed.reduce_()
            decoded = layout.decode(OpenedSum(summed, tuple(range(len(members)))))
            indices = tuple(sorted(names.index(name) for name in members))
            opened.append(replace(decoded, survivors=indices, groups=(indices,)))
        together = opened[0] if len(opened) == 1 else combine_groups(opened, recipe.sealing)
        return together if order.evaluates else replace(together, heldout_loss=None)

    def _trained(self, order: UnsealedOrder) -> AdapterLayout:
        return adapter_kind(self._recipe).trained(self._sites.layout, order.number)
