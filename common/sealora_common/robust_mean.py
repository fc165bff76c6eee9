"""From the means of a round's groups to one: the coordinate-wise median or trimmed mean.

Yin, Chen, Ramchandran & Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates" (ICML
2018, arXiv:1803.01498), definitions 1 and 2. As long as fewer than half of the groups (median), or no more than `trim`
of them (trimmed mean), have a liar among them, each coordinate of the result lies between the least and the largest of
the groups that have none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sealora_common.contribution import OpenedRound
from sealora_common.recipe import SealingSection

_BLOCK = 1 << 18  # coordinates combined at a time, so that what a sort needs stays small


def combine_groups(groups: Sequence[OpenedRound], sealing: SealingSection) -> OpenedRound:
    """One round from the opened groups, whose survivors are indices of the whole roster.

    Sites weigh in their group as ever; groups count alike. The figures are the medians of the groups', `total_weight`
    too: times the mean delta it gives the size of one group's sum, which is what the next public range is for.

    Args:
        groups: at least one; for `trimmed_mean` more than twice `sealing.trim`.
        sealing: `combine` and `trim` are read.

    Raises:
        ValueError: too few groups.
    """
    if not groups or (sealing.combine == "trimmed_mean" and len(groups) <= 2 * sealing.trim):
        raise ValueError(f"Expected more groups for {sealing.combine=} {sealing.trim=}, got {len(groups)}")
    losses = [group.heldout_loss for group in groups if group.heldout_loss is not None]
    unclipped = [group.unclipped for group in groups if group.unclipped is not None]
    return OpenedRound(
        survivors=tuple(sorted(index for group in groups for index in group.survivors)),
        mean_delta=_combined([group.mean_delta for group in groups], sealing),
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


def _combined(means: Sequence[NDArray[np.float64]], sealing: SealingSection) -> NDArray[np.float64]:
    combined = np.empty(len(means[0]))
    for start in range(0, len(combined), _BLOCK):
        block = np.stack([mean[start : start + _BLOCK] for mean in means])
        if sealing.combine == "median":
            combined[start : start + _BLOCK] = np.median(block, axis=0)
        else:
            block.sort(axis=0)
            combined[start : start + _BLOCK] = block[sealing.trim : len(means) - sealing.trim].mean(axis=0)
    return combined
