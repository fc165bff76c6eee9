"""From the means of a round's groups to one: the coordinate-wise median, a trimmed mean, or the mean of the likeliest.

Yin, Chen, Ramchandran & Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates" (ICML
2018, arXiv:1803.01498), definitions 1 and 2. As long as fewer than half of the groups (median), or no more than `trim`
of them (trimmed mean), have a liar among them, each coordinate of the result lies between the least and the largest of
the groups that have none.

Blanchard, El Mhamdi, Guerraoui & Stainer, "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent"
(NeurIPS 2017, arXiv:1703.02757), sections 4 and 5. As long as no more than `trim` groups have a liar among them, none
that is far from all that have none, seen from how far these are apart, has a part in the result (`multi_krum`). The
same holds of the groups nearest to the coordinate-wise median (`near_median`), which is itself within the range of the
groups without a liar, so it needs fewer groups. A liar that keeps within the others' spread is not seen by either, and
coordinates are not bounded one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sealora_common.recipe import SealingSection
from sealora_common.round.contribution import OpenedRound

_BLOCK = 1 << 18  # coordinates combined at a time, so that what a sort needs stays small


def combine_groups(groups: Sequence[OpenedRound], sealing: SealingSection) -> OpenedRound:
    """One round from the opened groups, whose survivors are indices of the whole roster.

    Sites weigh in their group as ever; groups count alike. The figures are the medians of the groups', `total_weight`
    too: times the mean delta it gives the size of one group's sum, which is what the next public range is for.

    Args:
        groups: `sealing.fewest_combined` or more.
        sealing: `combine` and `trim` are read.

    Raises:
        ValueError: too few groups.
    """
    if len(groups) < sealing.fewest_combined:
        raise ValueError(f"Expected more groups for {sealing.combine=} {sealing.trim=}, got {len(groups)}")
    losses = [group.heldout_loss for group in groups if group.heldout_loss is not None]
    unclipped = [group.unclipped for group in groups if group.unclipped is not None]
    ordered = sorted(groups, key=lambda group: group.survivors)  # so that the groups' order decides no tie
    return OpenedRound(
        survivors=tuple(sorted(index for group in groups for index in group.survivors)),
        mean_delta=_combined([group.mean_delta for group in ordered], sealing),
        heldout_loss=float(np.median(losses)) if losses else None,
        clipped_fraction=float(np.median([group.clipped_fraction for group in groups])),
        total_weight=float(np.median([group.total_weight for group in groups])),
        unclipped=float(np.median(unclipped)) if unclipped else None,
        groups=tuple(group.survivors for group in groups),
    )


def pool_groups(groups: Sequence[OpenedRound]) -> OpenedRound:
    """One round from opened groups as if all had been one sum: every site weighs as ever, and nobody is outvoted.

    Args:
        groups: at least one, with survivors as indices of the whole roster.
    """
    counts = np.array([len(group.survivors) for group in groups], dtype=np.float64)
    weights = np.array([group.total_weight for group in groups])
    losses = [group.heldout_loss for group in groups if group.heldout_loss is not None]
    unclipped = [group.unclipped for group in groups if group.unclipped is not None]
    return OpenedRound(
        survivors=tuple(sorted(index for group in groups for index in group.survivors)),
        mean_delta=np.average(np.stack([group.mean_delta for group in groups]), axis=0, weights=weights),
        heldout_loss=float(np.average(losses, weights=counts)) if losses else None,
        clipped_fraction=float(np.average([group.clipped_fraction for group in groups], weights=counts)),
        total_weight=float(weights.sum()),
        unclipped=float(np.average(unclipped, weights=counts)) if unclipped else None,
        groups=tuple(group.survivors for group in groups),
    )


def near_each_other(means: Sequence[NDArray[np.float64]], liars: int) -> list[int]:
    """The groups that Multi-Krum keeps: all but `liars`, by the sum of squared distances to their nearest.

    Of m groups each is scored by its m - liars - 2 nearest others. A tie goes to the first.

    Args:
        means: (coordinates,) each; more than 2 * `liars` + 2 of them, or, if `liars` is 0, at least one.

    Returns:
        Indices of `means`, ascending.

    Raises:
        ValueError: too few groups.
    """
    if len(means) < (2 * liars + 3 if liars else 1):
        raise ValueError(f"Expected more groups for {liars=}, got {len(means)}")
    near = len(means) - liars - 2
    distances = _squared_distances(means)
    # Sorted before they are added, so that no score depends on the order of the groups.
    scores = [np.sort(np.delete(row, own))[: max(0, near)].sum() for own, row in enumerate(distances)]
    return _least(scores, len(means) - liars)


def near_the_median(means: Sequence[NDArray[np.float64]], liars: int) -> list[int]:
    """The groups that are left without the `liars` farthest from the coordinate-wise median. A tie goes to the first.

    Args:
        means: (coordinates,) each; more than 2 * `liars` of them.

    Returns:
        Indices of `means`, ascending.

    Raises:
        ValueError: too few groups.
    """
    if len(means) <= 2 * liars:
        raise ValueError(f"Expected more groups for {liars=}, got {len(means)}")
    distances = np.zeros(len(means))
    for start in range(0, len(means[0]), _BLOCK):
        block = np.stack([mean[start : start + _BLOCK] for mean in means])
        distances += np.square(block - np.median(block, axis=0)).sum(axis=1)
    return _least(distances, len(means) - liars)


def _least(scores: ArrayLike, count: int) -> list[int]:
    return sorted(np.argsort(scores, kind="stable")[:count].tolist())


def _squared_distances(means: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(groups, groups). From differences, for a Gram matrix cancels badly where all groups say nearly the same."""
    distances = np.zeros((len(means), len(means)))
    for start in range(0, len(means[0]), _BLOCK):
        for one in range(len(means)):
            for other in range(one):
                apart = means[one][start : start + _BLOCK] - means[other][start : start + _BLOCK]
                distances[one, other] += np.square(apart).sum()
    return distances + distances.T


def _combined(means: Sequence[NDArray[np.float64]], sealing: SealingSection) -> NDArray[np.float64]:
    if sealing.combine == "multi_krum":
        means = [means[index] for index in near_each_other(means, sealing.trim)]
    elif sealing.combine == "near_median":
        means = [means[index] for index in near_the_median(means, sealing.trim)]
    combined = np.empty(len(means[0]))
    for start in range(0, len(combined), _BLOCK):
        block = np.stack([mean[start : start + _BLOCK] for mean in means])
        if sealing.combine == "median":
            combined[start : start + _BLOCK] = np.median(block, axis=0)
            continue
        block.sort(axis=0)
        trim = sealing.trim if sealing.combine == "trimmed_mean" else 0
        combined[start : start + _BLOCK] = block[trim : len(means) - trim].mean(axis=0)
    return combined
